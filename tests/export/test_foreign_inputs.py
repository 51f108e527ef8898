"""Whatever is wrong with a file that we read, the error is ours, of the right class, and names the file."""

import json
import struct
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from dotresize.bench.record.results import read as read_results
from dotresize.bench.sweep.state import check_same_sweep
from dotresize.errors import DotresizeError, InputError, ManifestError, ModelError
from dotresize.export.artefact_info import inspect_artefact
from dotresize.export.checkpoint.source import open_source
from dotresize.export.contract import manifest, reference
from dotresize.export.contract.manifest import Manifest
from dotresize.export.disk.model_files import read_config, read_genai_config
from dotresize.export.proof.structure import check_tensors
from dotresize.serve.engine.model_facts import read_facts

DEEP = "[" * 100_000
NOT_JSON = ["", "{", "null", "[]", "7", '"text"', "NaN", DEEP, '{"a":' * 5000, "\ud800", "\0"]
KINDS: list[Any] = [None, 7.5, "text", [], {}, True, -1, 10**30, float("nan"), "\ud800", [[[]]]]
GENAI = {
    "model": {
        "type": "llama",
        "vocab_size": 8,
        "context_length": 16,
        "decoder": {
            "filename": "model.onnx",
            "hidden_size": 8,
            "num_hidden_layers": 1,
            "num_attention_heads": 1,
            "num_key_value_heads": 1,
            "head_size": 8,
        },
    }
}


def every_change(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[tuple[Any, ...], Any]]:
    """Every place of a JSON value with every kind of value that could stand there instead."""
    changes = [(path, kind) for kind in KINDS]
    inner = data.items() if isinstance(data, dict) else enumerate(data[:1]) if isinstance(data, list) else ()
    return changes + [change for key, value in inner for change in every_change(value, (*path, key))]


def changed(data: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    copy = dict(data) if isinstance(data, dict) else list(data)
    copy[path[0]] = changed(copy[path[0]], path[1:], value)
    return copy


def refusals(file: Path, read: Callable[[], object], kind: type[DotresizeError]) -> int:
    """How many damaged versions of a JSON file are refused; any other exception fails the test."""
    whole = file.read_text(encoding="utf-8")
    data = json.loads(whole)
    texts = [text.encode("utf-8", "surrogatepass") for text in NOT_JSON] + [b"\xff\xfe", whole.encode()[:-9]]
    texts += [json.dumps(changed(data, path, value)).encode() for path, value in every_change(data)]
    refused: list[DotresizeError] = []
    for text in texts:
        file.write_bytes(text)
        try:
            read()
        except DotresizeError as error:
            refused.append(error)
    file.write_text(whole, encoding="utf-8")
    assert [error for error in refused if not isinstance(error, kind) or "\n" in str(error)] == []
    return len(refused)


def test_every_damaged_manifest_is_a_manifest_error(pico_copy: Path) -> None:
    file = pico_copy / "dotresize.json"
    tried = len(NOT_JSON) + 2 + len(every_change(json.loads(file.read_text())))

    def read() -> Manifest:
        record = manifest.read(pico_copy)
        assert record.sha256  # what was accepted can be written again
        return record

    assert refusals(file, read, ManifestError) > tried // 2


def test_every_damaged_config_is_a_model_error(pico_copy: Path) -> None:
    file = pico_copy / "config.json"
    readers: list[Callable[[Path], object]] = [read_config, read_facts, inspect_artefact, open_source]
    for read in readers:
        assert refusals(file, partial(read, pico_copy), ModelError) > len(NOT_JSON) - 2


def test_a_damaged_config_is_a_missed_check_of_verify(pico_copy: Path) -> None:
    file = pico_copy / "config.json"
    whole = json.loads(file.read_text())
    for key, value in [("num_attention_heads", 0), ("rope_parameters", []), ("num_labels", 10**19)]:
        file.write_text(json.dumps(whole | {key: value}))
        found = check_tensors(pico_copy)
        assert not found.passed
        assert "config.json" in found.note
    (pico_copy / "model.safetensors").write_bytes(struct.pack("<Q", 2**60))
    file.write_text(json.dumps(whole))
    assert "model.safetensors" in check_tensors(pico_copy).note


def test_every_damaged_genai_config_is_a_model_error(tmp_path: Path) -> None:
    file = tmp_path / "genai_config.json"
    file.write_text(json.dumps(GENAI))
    assert refusals(file, lambda: read_genai_config(tmp_path), ModelError) > 50
    assert refusals(file, lambda: inspect_artefact(tmp_path), ModelError) > len(NOT_JSON) - 2
    GENAI["model"]["decoder"]["filename"] = "../model.onnx"  # type: ignore[index]
    file.write_text(json.dumps(GENAI))
    with pytest.raises(ModelError, match="expected a file beside it"):
        read_genai_config(tmp_path)


def test_every_damaged_reference_is_a_manifest_error(pico_copy: Path) -> None:
    file = pico_copy / "reference" / "prompts.json"
    assert refusals(file, lambda: reference.load(pico_copy), ManifestError) > len(NOT_JSON)


@pytest.mark.parametrize("size", [0, 1, 8, 100, 1000])
def test_a_truncated_gguf_file_is_a_model_error(pico_saved: Path, tmp_path: Path, size: int) -> None:
    from dotresize.export.for_gguf.to_gguf import GgufConfig, export_gguf

    whole = tmp_path / "whole.gguf"
    export_gguf(pico_saved, whole, GgufConfig())
    (tmp_path / "m.gguf").write_bytes(whole.read_bytes()[:size])
    with pytest.raises(ModelError, match=r"m\.gguf cannot be read by gguf"):
        inspect_artefact(tmp_path / "m.gguf")


@pytest.mark.parametrize("text", [*NOT_JSON[:7], DEEP, '{"schema_version": 1}', '{"schema_version": true}'])
def test_results_and_sweep_state_of_another_kind_are_input_errors(tmp_path: Path, text: str) -> None:
    for name in ("results.json", "sweep.json"):
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=r"results\.json"):
        read_results(tmp_path / "results.json")
    with pytest.raises(InputError, match=r"sweep\.json"):
        check_same_sweep([], tmp_path)


def test_a_manifest_names_files_beside_it_only(pico_copy: Path) -> None:
    file = pico_copy / "dotresize.json"
    data = json.loads(file.read_text())
    data["files"] = {"../other.safetensors": next(iter(data["files"].values()))}
    file.write_text(json.dumps(data))
    with pytest.raises(ManifestError, match="expected files beside the manifest"):
        manifest.read(pico_copy)
