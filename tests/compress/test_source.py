"""Every way to name a model, and the ways in which that fails."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from dotresize.compress.weights.source import DEMO_MODEL, load_dense, open_model
from dotresize.errors import ModelError, OptionError


def test_directory_source_is_recorded(pico_checkpoint: Path) -> None:
    dense = load_dense(str(pico_checkpoint))
    assert dense.source.kind == "directory"
    assert dense.source.name == pico_checkpoint.name
    assert dense.source.dequantised_from is None
    assert dense.source.architecture == type(dense.model).__name__
    assert len(dense.source.sha256) == 64


def test_licence_is_read_from_the_card(pico_llama: Path, tmp_path: Path) -> None:
    copy = tmp_path / "model"
    shutil.copytree(pico_llama, copy)
    (copy / "README.md").write_text("---\nlicense: mit\n---\n# card\n")
    assert load_dense(str(copy)).source.licence == "mit"


@pytest.mark.slow
def test_demo_model_is_dequantised_and_says_so() -> None:
    dense = load_dense(DEMO_MODEL)
    assert dense.source.kind == "demo"
    assert dense.source.dequantised_from == "Q4_1"
    assert dense.source.licence == "apache-2.0"
    assert not hasattr(dense.model.config, "quantization_config")
    assert dense.model.config.hidden_size == 576
    assert dense.model.half().dtype == torch.float16  # as of any model


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("demo:gpt5", "there is one: demo:smollm2-135m"),
        ("no/such/place/at/all", "neither a local path nor a hub id"),
        ("dotresize/not-on-the-hub", "neither a local path nor a hub id"),
        ("nowhere.gguf", "is not a file; check the path"),
    ],
)
def test_models_that_are_not_there(spec: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        load_dense(spec)


def test_a_file_or_an_empty_directory_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"has no config.json; expected a Hugging Face model directory"):
        load_dense(str(tmp_path))
    (tmp_path / "model.bin").write_bytes(b"x")
    with pytest.raises(ModelError, match="is a file; expected a Hugging Face directory"):
        load_dense(str(tmp_path / "model.bin"))
    (tmp_path / "broken.gguf").write_bytes(b"GGUFxxxx")
    with pytest.raises(ModelError, match="broken.gguf cannot be read by transformers"):
        load_dense(str(tmp_path / "broken.gguf"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("truncate", "model.safetensors cannot be read by safetensors"),
        ("remove", "holds no weights; expected model.safetensors"),
        ("config", "config.json cannot be read"),
    ],
)
def test_damaged_checkpoints_are_refused(pico_llama: Path, tmp_path: Path, damage: str, message: str) -> None:
    copy = tmp_path / "model"
    shutil.copytree(pico_llama, copy)
    weights = copy / "model.safetensors"
    if damage == "truncate":
        weights.write_bytes(weights.read_bytes()[:5000])
    elif damage == "remove":
        weights.unlink()
    else:
        (copy / "config.json").write_text("{")
    with pytest.raises(ModelError, match=message):
        load_dense(str(copy))


def test_other_families_and_quantised_models_are_refused(pico_llama: Path, tmp_path: Path) -> None:
    copy = tmp_path / "model"
    shutil.copytree(pico_llama, copy)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(
        json.dumps(config | {"quantization_config": {"quant_method": "gptq", "bits": 4}})
    )
    with pytest.raises(ModelError, match="holds quantised weights"):
        load_dense(str(copy))
    (copy / "config.json").write_text(
        json.dumps({"model_type": "bloom", "architectures": ["BloomForCausalLM"]})
    )
    with pytest.raises(ModelError, match=r"BloomForCausalLM .* not supported yet; supported are llama"):
        load_dense(str(copy))


OLD, NEW = "0" * 39 + "1", "0" * 39 + "2"


@pytest.fixture
def hub(pico_llama: Path, pico_llama_untied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub's cache on this machine with two commits of one model; v1 is the older one."""
    folder = tmp_path / "models--people--pico"
    for commit, model in ((OLD, pico_llama), (NEW, pico_llama_untied)):
        snapshot = folder / "snapshots" / commit
        snapshot.mkdir(parents=True)
        for file in model.iterdir():
            blob = folder / "blobs" / f"{commit}-{file.name}"
            blob.parent.mkdir(exist_ok=True)
            shutil.copyfile(file, blob)
            (snapshot / file.name).symlink_to(Path("../../blobs") / blob.name)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(NEW)
    (folder / "refs" / "v1").write_text(OLD)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    return folder


@pytest.mark.parametrize(("revision", "commit"), [(None, NEW), ("main", NEW), ("v1", OLD), (OLD, OLD)])
def test_a_revision_of_a_hub_model_is_read_and_its_commit_recorded(
    hub: Path, revision: str | None, commit: str
) -> None:
    dense = open_model("people/pico", revision=revision).stream()
    assert (dense.source.kind, dense.source.name, dense.source.revision) == ("hub", "people/pico", commit)
    assert dense.config.tie_word_embeddings == (commit == OLD)


def test_a_revision_that_is_not_there_is_refused(hub: Path, pico_llama: Path) -> None:
    with pytest.raises(ModelError, match="people/pico is neither .* at revision v2"):
        open_model("people/pico", revision="v2")
    with pytest.raises(OptionError, match="revision v1 was given, but .* lies on this machine"):
        open_model(str(pico_llama), revision="v1")
