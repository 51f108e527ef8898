"""The growing output: the bytes are those of `save_pretrained`, and a damaged part counts for nothing."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from dotresize.compress.output.resume import WorkDirectory
from dotresize.compress.output.shard_layout import INDEX_NAME, lay_out
from dotresize.compress.output.shards import ShardWriter
from dotresize.compress.weights.file_hash import file_sha256
from dotresize.compress.weights.source import load_dense
from dotresize.errors import ModelError, OutputError

PARTS = {
    "embeddings": "model.embed_tokens",
    "layer-00000": "model.layers.0.",
    "layer-00001": "model.layers.1.",
}
PARTS |= {"layer-00002": "model.layers.2.", "head": ""}


def parts_of(model: Any) -> dict[str, dict[str, torch.Tensor]]:
    """The model's tensors, part by part; what is tied is left out."""
    state, parts = dict(model.state_dict()), {}
    if model.config.tie_word_embeddings:
        del state["lm_head.weight"]
    for part, prefix in PARTS.items():
        parts[part] = {name: state.pop(name) for name in list(state) if name.startswith(prefix)}
    return parts


def writer_of(model: Any, work: WorkDirectory, max_shard_bytes: int) -> ShardWriter:
    tied = {"lm_head.weight"} if model.config.tie_word_embeddings else set()
    return ShardWriter(work, lay_out(model, model.dtype, tied, max_shard_bytes=max_shard_bytes))


@pytest.mark.parametrize("max_shard_bytes", [10**9, 100_000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_files_are_those_that_transformers_writes(
    pico_checkpoint: Path, tmp_path: Path, dtype: torch.dtype, max_shard_bytes: int
) -> None:
    loaded: Any = load_dense(str(pico_checkpoint)).model
    model = type(loaded)(loaded.config).to(dtype)  # as the narrow model is made; a loaded one is sorted
    model.save_pretrained(tmp_path / "stock", max_shard_size=max_shard_bytes)
    with WorkDirectory(tmp_path / "work") as work:
        work.begin("me")
        writer = writer_of(model, work, max_shard_bytes)
        for part, tensors in reversed(parts_of(model).items()):
            writer.add(part, tensors, [])
        names = [file.name for file in writer.files]
        assert (writer.layout.index is None) == (len(names) == 1) == (max_shard_bytes == 10**9)
        for file in writer.files:
            assert file.read_bytes() == (tmp_path / "stock" / file.name).read_bytes()
            assert writer.hashes[file.name] == file_sha256(file)
        if writer.layout.index is not None:
            assert writer.layout.index == (tmp_path / "stock" / INDEX_NAME).read_text()
        work.discard()
    assert sorted(names) == sorted(path.name for path in (tmp_path / "stock").glob("*.safetensors"))
    assert not (tmp_path / "work").exists()


@pytest.fixture
def model(pico_llama_untied: Path) -> Any:
    return load_dense(str(pico_llama_untied)).model


@pytest.fixture
def half(model: Any, tmp_path: Path) -> Path:
    """A work directory with the embeddings and two layers, in several shards."""
    with WorkDirectory(tmp_path / "work") as work:
        work.begin("me")
        writer = writer_of(model, work, 100_000)
        for part in ("embeddings", "layer-00000", "layer-00001"):
            writer.add(part, parts_of(model)[part], [part])
    return tmp_path / "work"


def finished(path: Path, model: Any, part: str, max_shard_bytes: int = 100_000) -> Any:
    with WorkDirectory(path) as work:
        work.begin("me")
        return writer_of(model, work, max_shard_bytes).finished(part)


def test_finished_parts_come_back(half: Path, model: Any) -> None:
    for part in ("embeddings", "layer-00000", "layer-00001"):
        tensors, record = finished(half, model, part)
        assert record == [part]
        assert tensors.keys() == parts_of(model)[part].keys()
        assert all(torch.equal(tensors[name], parts_of(model)[part][name]) for name in tensors)
    assert finished(half, model, "layer-00002") is None
    assert finished(half, model, "layer-00000", max_shard_bytes=50_000) is None, "laid out in other files"


@pytest.mark.parametrize(
    "damage", ["flipped", "truncated", "gone", "journal", "record", "no journal", "link"]
)
def test_a_damaged_part_is_as_good_as_none(half: Path, model: Any, damage: str) -> None:
    writer_layout = lay_out(model, model.dtype, set(), max_shard_bytes=100_000)
    shard = writer_layout.shard_of("model.layers.0.mlp.up_proj.weight")
    file, journal = half / shard.name, half / "layer-00000.json"
    if damage == "flipped":
        content = bytearray(file.read_bytes())
        content[shard.places["model.layers.0.mlp.up_proj.weight"].start + 5] ^= 1
        file.write_bytes(content)
    elif damage == "truncated":
        os.truncate(file, shard.size_bytes - 100)
    elif damage == "gone":
        file.unlink()
    elif damage == "journal":
        journal.write_text("{")
    elif damage == "record":
        journal.write_text(json.dumps(json.loads(journal.read_text()) | {"record": ["other"]}))
    elif damage == "no journal":
        journal.unlink()
    else:
        file.rename(half / "thesis.bin")
        file.symlink_to(half / "thesis.bin")
    assert finished(half, model, "layer-00000") is None
    with WorkDirectory(half) as work:
        work.begin("me")
        writer = writer_of(model, work, 100_000)
        for part, tensors in parts_of(model).items():
            if writer.finished(part) is None:
                writer.add(part, tensors, [])
        assert len(writer.files) == len(writer_layout.shards)
    assert finished(half, model, "layer-00000") is not None


def test_another_identity_starts_afresh(half: Path, model: Any) -> None:
    with WorkDirectory(half) as work:
        work.begin("you")
        assert not list(half.glob("model*"))
        assert writer_of(model, work, 100_000).finished("layer-00000") is None


def test_an_output_that_shares_a_file_is_not_written_to(half: Path, model: Any, tmp_path: Path) -> None:
    file = sorted(half.glob("model-*.safetensors"))[-1]
    os.link(file, tmp_path / "published")
    before = (tmp_path / "published").read_bytes()
    with WorkDirectory(half) as work:
        work.begin("me")
        writer = writer_of(model, work, 100_000)
        for part, tensors in parts_of(model).items():
            writer.add(part, {name: tensor + 1 for name, tensor in tensors.items()}, [])
        assert file.read_bytes() != before
    assert (tmp_path / "published").read_bytes() == before


def test_tensors_that_the_model_has_no_place_for_are_refused(half: Path, model: Any) -> None:
    with WorkDirectory(half) as work:
        work.begin("me")
        writer = writer_of(model, work, 100_000)
        with pytest.raises(ModelError, match="has no place for model.layers.9.x"):
            writer.add("layer-00009", {"model.layers.9.x": torch.zeros(2)}, [])
        with pytest.raises(ModelError, match=r"model.norm.weight is torch.float32 \[2\], expected .* \[64\]"):
            writer.add("head", {"model.norm.weight": torch.zeros(2)}, [])
        with pytest.raises(ModelError, match="the narrow model lacks lm_head.weight, model.embed"):
            _ = writer.files


def test_a_directory_that_cannot_be_written_is_named(half: Path, model: Any) -> None:
    with WorkDirectory(half) as work:
        work.begin("me")
        writer = writer_of(model, work, 100_000)
        (half / "layer-00002.tmp").mkdir()
        with pytest.raises(OutputError, match=r"layer-00002.json cannot be written: .*run again to resume"):
            writer.add("layer-00002", parts_of(model)["layer-00002"], [])
        (half / "layer-00002.tmp").rmdir()
