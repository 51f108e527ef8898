"""`dotresize info` on what is ours and what is not."""

from pathlib import Path

import pytest

from dotresize.errors import ModelError
from dotresize.export.artefact_info import inspect_artefact
from dotresize.export.for_gguf.to_gguf import GgufConfig, export_gguf


def test_a_checkpoint_of_ours(pico_saved: Path) -> None:
    found = inspect_artefact(pico_saved)
    assert (found.format, found.precision, found.ours) == ("huggingface", "float32", True)
    assert found.widths["hidden_size"] == 64
    assert found.parameters == 178_624  # counted from the shapes of the pico model
    assert found.provenance[0].startswith("pico (directory")
    assert found.verification == "not recorded"


def test_a_foreign_checkpoint(pico_mistral: Path) -> None:
    found = inspect_artefact(pico_mistral)
    assert (found.format, found.precision, found.ours) == ("huggingface", "f32", False)
    assert found.architecture == "MistralForCausalLM"
    assert found.provenance == ()


def test_a_gguf_file_with_and_without_its_record(pico_saved: Path, tmp_path: Path) -> None:
    export_gguf(pico_saved, tmp_path / "m.gguf", GgufConfig(type="q8_0"))
    ours = inspect_artefact(tmp_path / "m.gguf")
    assert (ours.format, ours.precision, ours.parameters) == ("gguf", "q8_0", 178_624)
    assert ours.provenance[-2].startswith("huggingface float32")
    (tmp_path / "m.gguf").rename(tmp_path / "foreign.gguf")
    foreign = inspect_artefact(tmp_path / "foreign.gguf")
    assert (foreign.ours, foreign.precision, foreign.widths["head_dim"]) == (False, "q8_0", 32)


def test_what_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="does not exist"):
        inspect_artefact(tmp_path / "nothing")
    with pytest.raises(ModelError, match="neither config.json"):
        inspect_artefact(tmp_path)
    (tmp_path / "x.gguf").write_bytes(b"nonsense")
    with pytest.raises(ModelError, match="not a GGUF file"):
        inspect_artefact(tmp_path / "x.gguf")
