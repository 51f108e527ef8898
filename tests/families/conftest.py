"""Pico checkpoints of every family, and Llama checkpoints re-expressed as other families.

save_family         function (model type) -> directory of a seeded random pico of that family
save_expressed      function (Llama directory, model type) -> directory of the same function as that family

Norm gains and all biases are random: an unfolded or doubly folded one changes every logit.
"""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .models.configs import pico_config
from .models.expressed import Expressed
from .models.reexpress import EXPRESSIONS

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

SaveFamily = Callable[[str], Path]
SaveExpressed = Callable[[Path, str], Path]


def randomise(model: "PreTrainedModel", seed: int = 0) -> None:
    """Draw norm gains from 0.5 to 1.5 (less one where the norm adds it) and biases from 0.3 N(0, 1)."""
    import torch

    offset = 1.0 if model.config.model_type.startswith("gemma") else 0.0
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parameter.data = 0.3 * torch.randn(parameter.shape, generator=generator)
        elif parameter.ndim == 1:
            parameter.data = 0.5 + torch.rand(parameter.shape, generator=generator) - offset
        elif name.endswith("mlp.gate.weight"):  # a router that starts at zero would send all to one place
            parameter.data = 0.15 * torch.randn(parameter.shape, generator=generator)


def logits_of(model: "PreTrainedModel", windows: int = 2) -> "torch.Tensor":
    """Logits (w, 40, v) of a few fixed windows of random tokens."""
    import torch

    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(model.config.vocab_size, (windows, 40), generator=generator)
    with torch.no_grad():
        logits: torch.Tensor = model.eval()(tokens, use_cache=False).logits
    return logits


def strictly_loaded(directory: Path, dtype: "torch.dtype") -> "PreTrainedModel":
    """The stock model of a checkpoint that holds exactly the tensors it should."""
    from transformers import AutoModelForCausalLM

    loaded: Any = AutoModelForCausalLM.from_pretrained(
        directory,
        dtype=dtype,
        output_loading_info=True,
        experts_implementation="eager",
        attn_implementation="eager",  # the default leaves Gemma 2's cap on attention scores out
    )
    model: PreTrainedModel
    model, found = loaded
    problems = {name: values for name, values in found.items() if values}
    assert not problems
    return model


def stock(expressed: Expressed, dtype: "torch.dtype") -> "PreTrainedModel":
    """The stock model that holds exactly these tensors."""
    from transformers import AutoModelForCausalLM

    config = expressed.config
    model: PreTrainedModel = AutoModelForCausalLM.from_config(
        config, dtype=dtype, experts_implementation="eager", attn_implementation="eager"
    )
    state = dict(expressed.state)
    if config.tie_word_embeddings:
        state["lm_head.weight"] = state["model.embed_tokens.weight"]
    model.load_state_dict(state)
    return model


def save_tokenizer(tokenizer: "PreTrainedTokenizerFast", directory: Path) -> None:
    """Qwen2's class would add a token of its own for unknown text, beyond the vocabulary of a pico."""
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.unk_token = tokenizer.eos_token
    tokenizer.save_pretrained(directory)


@pytest.fixture(scope="session")
def save_family(
    tmp_path_factory: pytest.TempPathFactory, pico_tokenizer: "PreTrainedTokenizerFast"
) -> SaveFamily:
    saved: dict[str, Path] = {}

    def save(family: str) -> Path:
        import torch
        from transformers import AutoModelForCausalLM

        if family not in saved:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                model = AutoModelForCausalLM.from_config(pico_config(family), dtype=torch.float32)
            randomise(model)
            saved[family] = tmp_path_factory.mktemp("family") / family
            model.save_pretrained(saved[family])
            save_tokenizer(pico_tokenizer, saved[family])
        return saved[family]

    return save


@pytest.fixture(scope="session")
def save_expressed(tmp_path_factory: pytest.TempPathFactory) -> SaveExpressed:
    def save(llama: Path, family: str) -> Path:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        model = AutoModelForCausalLM.from_pretrained(llama, dtype=torch.float32)
        expressed = EXPRESSIONS[family](Expressed(model.config, dict(model.state_dict())))
        directory = tmp_path_factory.mktemp("expressed") / family
        stock(expressed, torch.float32).save_pretrained(directory)
        tokenizer: Any = AutoTokenizer.from_pretrained(llama)
        save_tokenizer(tokenizer, directory)
        return directory

    return save
