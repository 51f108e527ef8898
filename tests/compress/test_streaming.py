"""A model left in its files: the parts are the loaded model's, and so is what is known of it."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from dotresize.compress.record.config import CompressConfig
from dotresize.compress.run import compress
from dotresize.compress.weights.dense import StreamedModel
from dotresize.compress.weights.source import load_dense, open_model
from dotresize.errors import ModelError

CPU = torch.device("cpu")


def streamed(directory: Path) -> StreamedModel:
    dense = open_model(str(directory)).stream()
    assert isinstance(dense, StreamedModel)
    return dense


def reshard(directory: Path, to: Path, **how: Any) -> Path:
    """A copy in several files."""
    dense = load_dense(str(directory))
    model: Any = dense.model.to(how.pop("dtype", dense.model.dtype))
    model.save_pretrained(to, **how)
    dense.tokenizer.save_pretrained(to)
    return to


@pytest.mark.parametrize("shards", [False, True])
def test_its_parts_are_the_loaded_models(pico_checkpoint: Path, tmp_path: Path, shards: bool) -> None:
    if shards:
        pico_checkpoint = reshard(pico_checkpoint, tmp_path / "shards", max_shard_size="100KB")
        assert (pico_checkpoint / "model.safetensors.index.json").is_file()
    whole, parts = load_dense(str(pico_checkpoint)), streamed(pico_checkpoint)
    assert parts.source == whole.source
    assert parts.config.to_dict() == whole.config.to_dict()
    assert (parts.generation_config is None) == (whole.generation_config is None)
    assert parts.dtype == whole.dtype
    assert all(parameter.is_meta for parameter in parts.skeleton.parameters())
    family, numbers = whole.family, [2, 0]
    pairs = zip(
        parts.weights.layers(family.layers, numbers, CPU),
        whole.weights.layers(family.layers, numbers, CPU),
        strict=True,
    )
    for part, layer in pairs:
        for name, tensor in layer.state_dict().items():
            assert_close(part.state_dict()[name], tensor, atol=0, rtol=0)
    for path in (family.embedding, family.final_norm, family.head):
        found, wanted = (each.weights.module(path).get_parameter("weight") for each in (parts, whole))
        assert_close(found, wanted, atol=0, rtol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_weights_have_the_dtype_that_transformers_gives_them(
    pico_llama: Path, tmp_path: Path, dtype: torch.dtype
) -> None:
    directory = reshard(pico_llama, tmp_path / "other", dtype=dtype)
    whole, parts = load_dense(str(directory)), streamed(directory)
    assert parts.dtype == whole.dtype == (torch.float32 if dtype == torch.float64 else dtype)
    (layer,) = parts.weights.layers(whole.family.layers, [1], CPU)
    assert {parameter.dtype for parameter in layer.parameters()} == {torch.float32}


def test_it_is_narrowed_to_the_same_bytes(pico_checkpoint: Path) -> None:
    config = CompressConfig(
        width=0.75,
        mlp_width=0.75,
        calibration="builtin:documentation",
        window_tokens=32,
        calibration_windows=4,
    )
    whole = compress(load_dense(str(pico_checkpoint)), config)
    parts = compress(streamed(pico_checkpoint), config)
    assert parts.report == whole.report
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, parts.model.state_dict()[name]), name


@pytest.fixture
def shards(pico_llama_untied: Path, tmp_path: Path) -> Path:
    return reshard(pico_llama_untied, tmp_path / "shards", max_shard_size="100KB")


def a_shard(directory: Path) -> Path:
    return sorted(directory.glob("*.safetensors"))[1]


def test_a_missing_shard_is_named_before_a_weight_is_read(shards: Path) -> None:
    a_shard(shards).unlink()
    with pytest.raises(ModelError, match=r"model-00002-of-\d+.safetensors is missing; .*index"):
        open_model(str(shards))


def test_a_truncated_shard_is_named_before_a_weight_is_read(shards: Path) -> None:
    content = a_shard(shards).read_bytes()
    a_shard(shards).write_bytes(content[:-100])
    with pytest.raises(ModelError, match=r"model-00002-of-\d+.safetensors cannot be read by safetensors"):
        open_model(str(shards))


def test_an_index_that_leads_outside_is_refused(shards: Path) -> None:
    index, shard = shards / "model.safetensors.index.json", a_shard(shards)
    shard.rename(shards.parent / "elsewhere.safetensors")
    index.write_text(index.read_text().replace(shard.name, "../elsewhere.safetensors"))
    with pytest.raises(ModelError, match="lies outside the model's directory"):
        open_model(str(shards))


@pytest.mark.parametrize(
    ("value", "message"), [(float("nan"), "1 values that are not finite"), (None, "is 0 everywhere")]
)
def test_a_broken_weight_is_named(shards: Path, value: float | None, message: str) -> None:
    file = next(
        path
        for path in sorted(shards.glob("*.safetensors"))
        if "model.layers.1.mlp.up_proj.weight" in load_file(path)
    )
    tensors = load_file(file)
    tensor = tensors["model.layers.1.mlp.up_proj.weight"]
    if value is None:
        tensor.zero_()
    else:
        tensor[3, 5] = value
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=f"model.layers.1.mlp.up_proj.weight .*{message}"):
        open_model(str(shards)).stream()


def test_a_head_that_differs_from_the_embedding_it_is_tied_to_is_refused(
    pico_llama: Path, tmp_path: Path
) -> None:
    directory = reshard(pico_llama, tmp_path / "tied")
    file = directory / "model.safetensors"
    tensors = load_file(file)
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    save_file(tensors, file, metadata={"format": "pt"})
    same = streamed(directory)
    assert same.weights.places["lm_head.weight"] == same.weights.places["model.embed_tokens.weight"]
    tensors["lm_head.weight"][0, 0] += 1
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match="says tie_word_embeddings, but the file holds a head that differs"):
        open_model(str(directory)).stream()
