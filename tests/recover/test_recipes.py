"""The recipes: settings that can be meant, a command that says the same, figures that are predicted anew."""

import shlex
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig

from dotresize.errors import OptionError
from dotresize.recover.ask.config import RecoverConfig
from dotresize.recover.forecast.memory import saved_bytes
from dotresize.recover.forecast.recipe import RECIPES, predict, read_recipe
from dotresize.recover.forecast.shapes import memory_from_configs, train_flops

FLAGS = {"shard", "activation_checkpointing"}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipes_figures_are_what_its_shapes_predict(name: str) -> None:
    recipe = read_recipe(name)
    found = predict(recipe)
    assert found.memory_bytes == pytest.approx(recipe.predicted.memory_bytes, rel=0.02)
    assert found.host_memory_bytes == pytest.approx(recipe.predicted.host_memory_bytes, rel=0.02)
    assert found.hours == pytest.approx(recipe.predicted.hours, rel=0.02)
    assert found.memory_bytes < 0.9 * recipe.hardware.memory_bytes


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipes_command_says_its_settings(name: str) -> None:
    recipe = read_recipe(name)
    recipe.config()
    options = [f"--text={text}" for text in recipe.settings["text"]]
    for key, value in recipe.settings.items():
        option = "--" + key.replace("_", "-")
        if key != "text":
            options.append(option if key in FLAGS else f"{option}={value}")
    said = shlex.split(recipe.launch)
    said = said[said.index("OUT") + 1 :]
    joined, index = [], 0
    while index < len(said):
        has_value = index + 1 < len(said) and not said[index + 1].startswith("--")
        joined.append("=".join(said[index : index + 1 + has_value]))
        index += 1 + has_value
    assert sorted(joined) == sorted(options)


def test_an_unknown_recipe_is_refused() -> None:
    with pytest.raises(OptionError, match="no recipe '3b'; choose one of 1b, 8b, 70b"):
        read_recipe("3b")


def test_flops_are_those_of_the_weights_counted_by_hand(pico_llama: Path) -> None:
    config = AutoConfig.from_pretrained(pico_llama)
    assert config.tie_word_embeddings
    per_layer = config.hidden_size * config.head_dim
    per_layer *= 2 * config.num_attention_heads + 2 * config.num_key_value_heads
    per_layer += 3 * config.hidden_size * config.intermediate_size
    weights = config.num_hidden_layers * per_layer + config.vocab_size * config.hidden_size
    recover = RecoverConfig(text=("x",), tokens=1)
    # gains and biases are in the count, too
    assert train_flops(config, config, recover) == pytest.approx(8 * weights, rel=0.02)


@pytest.mark.parametrize("train", ["all", "norms", "lora"])
def test_shapes_alone_save_what_a_real_pass_saves(pico_llama: Path, train: str) -> None:
    from transformers import AutoModelForCausalLM

    from dotresize.recover.losses.heads import finishing
    from dotresize.recover.models.trainable import choose_trainable

    config = AutoConfig.from_pretrained(pico_llama)
    recover = RecoverConfig(text=("x",), tokens=1, train=train, window_tokens=32)  # type: ignore[arg-type]
    plain = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model = choose_trainable(plain, recover).train()
    finishing(plain)
    token_ids = torch.zeros(2, 32, dtype=torch.int64)
    with torch.autocast("cpu", torch.bfloat16):
        real = saved_bytes(
            lambda: model(token_ids, finish=lambda hidden, _, head: hidden.float().sum()),
            [*model.parameters(), *model.buffers()],
        )
    found = memory_from_configs(config, config, recover, bfloat16=True).saved
    # fake tensors take transformers' way of tracing, with repeated keys and values and a mask: never less
    assert real <= found <= 1.15 * real


def test_shards_divide_what_they_hold() -> None:
    recipe = read_recipe("1b")
    config = AutoConfig.for_model(**recipe.dense)
    settings = RecoverConfig(text=("x",), tokens=1, shard=True, batch_windows=64)
    alone, shared = (
        asdict(memory_from_configs(config, config, settings, bfloat16=True, processes=count))
        for count in (1, 4)
    )
    for part in ("student", "teacher", "gradients", "moments"):
        assert shared[part] == alone[part] // 4
    assert shared["saved"] == alone["saved"]


def test_gradients_count_where_a_step_has_several_micro_batches() -> None:
    recipe = read_recipe("1b")
    config = AutoConfig.for_model(**recipe.dense)
    alone, several = (
        memory_from_configs(
            config, config, RecoverConfig(text=("x",), tokens=1, batch_windows=windows), bfloat16=True
        )
        for windows in (2, 4)  # of two each micro-batch
    )
    assert several.gradients == several.student  # all are trained, in float32
    assert alone.gradients == max(0, several.gradients - alone.saved)
    assert alone.saved == several.saved
