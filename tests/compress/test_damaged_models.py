"""Models whose files do not fit together, or whose weights carry nothing: refused by name, never guessed."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from dotresize.compress.weights.source import load_dense, open_model
from dotresize.errors import ModelError

Tensors = dict[str, Tensor]
Q = "model.layers.1.self_attn.q_proj.weight"


@pytest.fixture
def model(pico_checkpoint: Path, tmp_path: Path) -> Path:
    shutil.copytree(pico_checkpoint, tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def llama(pico_llama: Path, tmp_path: Path) -> Path:
    shutil.copytree(pico_llama, tmp_path / "llama")
    return tmp_path / "llama"


def change_tensors(model: Path, change: Callable[[Tensors], Tensors]) -> None:
    file = model / "model.safetensors"
    save_file(change(load_file(file)), file, metadata={"format": "pt"})


def change_config(model: Path, **values: Any) -> None:
    config = json.loads((model / "config.json").read_text())
    config = {key: value for key, value in (config | values).items() if value != "delete"}
    (model / "config.json").write_text(json.dumps(config))


def without(name: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {key: value for key, value in tensors.items() if key != name}


def test_every_tensor_is_missed(model: Path) -> None:
    """transformers would fill each gap with random numbers."""
    whole = (model / "model.safetensors").read_bytes()
    names = list(load_file(model / "model.safetensors"))
    for name in names:
        (model / "model.safetensors").write_bytes(whole)
        change_tensors(model, without(name))
        with pytest.raises(ModelError, match=rf"does not fit its config.json: it lacks {name}"):
            open_model(str(model))
    (model / "model.safetensors").write_bytes(whole)
    load_dense(str(model))


def renamed(tensors: Tensors) -> Tensors:
    return {key.replace("1.self_attn.q_proj", "1.self_attn.query"): value for key, value in tensors.items()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (renamed, f"it lacks {Q}"),
        (lambda tensors: {}, "without a single tensor"),
        (lambda tensors: tensors | {"model.extra.weight": torch.ones(3)}, "has unknown model.extra.weight"),
        (lambda tensors: tensors | {Q: tensors[Q][:10].clone()}, rf"has {Q} as \[10, 64\], the config says"),
        (lambda tensors: tensors | {Q: tensors[Q].to(torch.int32)}, f"has {Q} in I32, expected floats"),
    ],
)
def test_other_tensors_than_the_config_describes(
    model: Path, change: Callable[[Tensors], Tensors], message: str
) -> None:
    change_tensors(model, change)
    with pytest.raises(ModelError, match=message):
        load_dense(str(model))


def test_a_tied_head_and_old_rotary_buffers_may_be_there_or_not(llama: Path) -> None:
    change_tensors(
        llama,
        lambda tensors: (
            tensors
            | {"lm_head.weight": tensors["model.embed_tokens.weight"].clone()}
            | {"model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(16)}
        ),
    )
    load_dense(str(llama))
    change_tensors(llama, lambda tensors: tensors | {"lm_head.weight": tensors["lm_head.weight"] + 1})
    with pytest.raises(ModelError, match="says tie_word_embeddings, but the file holds a head that differs"):
        load_dense(str(llama))


@pytest.mark.parametrize(
    ("layers", "word"), [("delete", "lacks"), (2, "has unknown"), (4, "lacks"), (8, "lacks")]
)
def test_another_number_of_layers(model: Path, layers: Any, word: str) -> None:
    change_config(model, num_hidden_layers=layers)
    with pytest.raises(ModelError, match=rf"{word} model.layers"):
        load_dense(str(model))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rope_theta": 0}, "rope_theta = 0.*expected a positive number"),
        ({"rope_theta": -1.0}, "rope_theta = -1.0.*expected a positive number"),
        ({"rope_theta": float("nan")}, "rope_theta = nan; expected a finite number"),
        (
            {"rope_parameters": {"rope_type": "default", "rope_theta": float("inf")}},
            "rope_parameters.rope_theta",
        ),
        ({"rms_norm_eps": 0.0}, "rms_norm_eps = 0.0; expected a positive number"),
        ({"num_labels": 10**19}, "num_labels = 10000000000000000000; expected a number from 1 to 100000"),
        ({"hidden_size": 10**12}, "hidden_size = 1000000000000; expected a number from 1"),
        ({"num_hidden_layers": 10**7}, "num_hidden_layers = 10000000; expected"),
        ({"some_limit": -(10**30)}, "some_limit = -1000000000000.*expected a number below"),
        ({"vocab_size": 300}, r"has model.embed_tokens.weight as \[384, 64\], the config says \[300, 64\]"),
    ],
)
def test_absurd_config_values(llama: Path, values: dict[str, Any], message: str) -> None:
    change_config(llama, **values)
    with pytest.raises(ModelError, match=message):
        load_dense(str(llama))


def test_a_vocabulary_smaller_than_the_tokenizer(model: Path) -> None:
    change_config(model, vocab_size=300)
    shrunk = ("model.embed_tokens.weight", "lm_head.weight")
    change_tensors(
        model, lambda t: {key: value[:300].clone() if key in shrunk else value for key, value in t.items()}
    )
    with pytest.raises(ModelError, match="token ids up to 383, but the model embeds 300"):
        load_dense(str(model))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        (Q, float("nan"), f"{Q} holds 8192 values that are not finite of 8192"),
        ("model.norm.weight", float("inf"), "model.norm.weight holds 64 values that are not finite"),
        (Q, 0.0, f"{Q} is 0 everywhere"),
        ("model.embed_tokens.weight", 0.5, "model.embed_tokens.weight is 0.5 everywhere"),
        ("model.layers.0.input_layernorm.weight", 0.0, "input_layernorm.weight is zero everywhere"),
    ],
)
def test_weights_that_are_broken(model: Path, name: str, value: float, message: str) -> None:
    change_tensors(model, lambda tensors: tensors | {name: torch.full_like(tensors[name], value)})
    with pytest.raises(ModelError, match=message):
        load_dense(str(model))


def sharded(model: Path) -> dict[str, Any]:
    (model / "model.safetensors").rename(model / "one.safetensors")
    names = load_file(model / "one.safetensors")
    index = {"metadata": {}, "weight_map": dict.fromkeys(names, "one.safetensors")}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    return index


@pytest.mark.parametrize("kind", ["above", "absolute", "link"])
def test_shards_outside_the_directory_are_not_read(llama: Path, kind: str) -> None:
    index = sharded(llama)
    load_dense(str(llama))
    outside = llama.parent / "outside.safetensors"
    (llama / "one.safetensors").rename(outside)
    name = {"above": "../outside.safetensors", "absolute": str(outside), "link": "one.safetensors"}[kind]
    (llama / "one.safetensors").symlink_to(outside)
    index["weight_map"] = dict.fromkeys(index["weight_map"], name)
    (llama / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(
        ModelError, match=rf"index.json names {name}, which lies outside the model's directory"
    ):
        load_dense(str(llama))


def test_a_hub_cache_links_to_its_blobs(llama: Path, tmp_path: Path) -> None:
    cache = tmp_path / "models--someone--pico"
    (cache / "blobs").mkdir(parents=True)
    snapshot = cache / "snapshots" / "abc"
    shutil.copytree(llama, snapshot)
    (snapshot / "model.safetensors").rename(cache / "blobs" / "1234")
    (snapshot / "model.safetensors").symlink_to("../../blobs/1234")
    load_dense(str(snapshot))
    (snapshot / "model.safetensors").unlink()
    (snapshot / "model.safetensors").symlink_to(llama / "model.safetensors")
    with pytest.raises(ModelError, match="lies outside the model's directory"):
        load_dense(str(snapshot))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "has no weight_map"),
        ('{"weight_map": {"a": 3}}', "names no file for a"),
        ("{", "cannot be read"),
    ],
)
def test_damaged_indices(llama: Path, content: str, message: str) -> None:
    sharded(llama)
    (llama / "model.safetensors.index.json").write_text(content)
    with pytest.raises(ModelError, match=message):
        load_dense(str(llama))


def test_pickles_are_read_as_tensors_only(llama: Path, tmp_path: Path) -> None:
    tensors = load_file(llama / "model.safetensors")
    (llama / "model.safetensors").unlink()
    torch.save(tensors, llama / "pytorch_model.bin")
    load_dense(str(llama))
    torch.save(without(Q)(tensors), llama / "pytorch_model.bin")
    with pytest.raises(ModelError, match=f"lacks {Q}"):
        load_dense(str(llama))

    class Attack:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "executed"),)

    torch.save({"a": Attack()}, llama / "pytorch_model.bin")
    with pytest.raises(ModelError, match=r"only tensors are read from a pickle; convert it to safetensors"):
        load_dense(str(llama))
    assert not (tmp_path / "executed").exists()


def test_a_pipe_among_the_files_is_refused(llama: Path) -> None:
    (llama / "tokenizer.json").unlink()
    os.mkfifo(llama / "tokenizer.json")
    with pytest.raises(ModelError, match="tokenizer.json is no regular file but a pipe"):
        load_dense(str(llama))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "MODEL is empty"),
        ("a\0b", "a character that no path can hold"),
        ("a\ud800b", "a character that no path can hold"),
        ("~nobody-of-that-name/x", "names a home directory that does not exist"),
        ("x" * 300, "longer than a file system holds"),
        ("hf:", "neither a local path nor a hub id"),
    ],
)
def test_names_that_no_model_can_have(name: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load_dense(name)


def test_a_damaged_gguf_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "zeros.gguf"
    file.write_bytes(b"GGUF" + bytes(4096))
    with pytest.raises(ModelError, match="zeros.gguf cannot be read by transformers"):
        load_dense(str(file))


def test_two_tokens_of_one_id_are_refused(llama: Path) -> None:
    file = llama / "tokenizer.json"
    content = json.loads(file.read_text())
    content["model"]["vocab"]["t"] = content["model"]["vocab"]["e"]
    file.write_text(json.dumps(content))
    with pytest.raises(ModelError, match="gives two tokens the same id"):
        open_model(str(llama))


def test_float64_is_read_as_float32(llama: Path) -> None:
    change_config(llama, dtype="float64")
    change_tensors(llama, lambda tensors: {name: tensor.double() for name, tensor in tensors.items()})
    assert load_dense(str(llama)).model.dtype == torch.float32
