"""Verification passes on what was written, and misses every kind of damage."""

import json
import struct
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dotresize.errors import ManifestError, MissingDependencyError
from dotresize.export.checkpoint.write import weight_records
from dotresize.export.contract import manifest
from dotresize.export.proof.verify import verify

from ..forked import forked


def missed(directory: Path) -> dict[str, str]:
    """Names and notes of the checks that fail under stock transformers."""
    record = verify(directory, runtime="transformers")
    assert manifest.read(directory) == record, "the result belongs into the manifest"
    return {check.name: check.note for check in record.verification if not check.passed}


def trust_present_bytes(directory: Path) -> None:
    """Record the damaged files as if they were meant, so that only running the model can tell."""
    record = manifest.read(directory)
    manifest.write(replace(record, files=weight_records(directory)), directory)


def edit_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def tensor_offset(path: Path, name: str) -> int:
    """Where the bytes of a tensor start in a safetensors file."""
    content = path.read_bytes()
    (header_bytes,) = struct.unpack("<Q", content[:8])
    return 8 + header_bytes + int(json.loads(content[8 : 8 + header_bytes])[name]["data_offsets"][0])


def overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as stream:
        stream.seek(offset)
        stream.write(data)


def flip_weight_bytes(directory: Path) -> None:
    path = directory / "model.safetensors"
    start = tensor_offset(path, "model.layers.1.mlp.up_proj.weight")
    content = path.read_bytes()[start : start + 64]
    overwrite(path, start, bytes(byte ^ 0x80 for byte in content))


def test_a_fresh_checkpoint_passes(pico_copy: Path) -> None:
    assert missed(pico_copy) == {}


def test_changed_bytes_miss_their_hash_and_the_logits(pico_copy: Path) -> None:
    flip_weight_bytes(pico_copy)
    assert set(missed(pico_copy)) >= {"file hashes", "logits"}


def test_changed_bytes_are_seen_without_the_hash_too(pico_copy: Path) -> None:
    flip_weight_bytes(pico_copy)
    trust_present_bytes(pico_copy)
    found = missed(pico_copy)
    assert "file hashes" not in found
    assert "beyond the limit: mean_kl" in found["logits"]


def test_a_model_larger_than_memory_is_run_layer_by_layer(
    pico_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dotresize.export.proof.proofs.free_memory_bytes", lambda: 1000)
    record = verify(pico_copy, runtime="transformers")
    assert record.verified
    assert any("paged" in check.runtime for check in record.verification)
    flip_weight_bytes(pico_copy)
    trust_present_bytes(pico_copy)
    assert "beyond the limit: mean_kl" in missed(pico_copy)["logits"]


@pytest.mark.parametrize(
    "changes",
    [
        {"rms_norm_eps": 0.1},
        {"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}, "rope_theta": 500.0},
    ],
    ids=["eps", "rope"],
)
def test_a_wrong_config_value_is_seen(pico_copy: Path, changes: dict[str, Any]) -> None:
    edit_json(pico_copy / "config.json", **changes)
    assert "logits" in missed(pico_copy)


def test_a_false_tie_is_seen(pico_copy: Path) -> None:
    edit_json(pico_copy / "config.json", tie_word_embeddings=True)
    assert "is stored, but config.json says it is tied" in missed(pico_copy)["tensors"]


def test_values_that_are_not_finite_are_seen(pico_copy: Path) -> None:
    path = pico_copy / "model.safetensors"
    overwrite(path, tensor_offset(path, "model.norm.weight"), struct.pack("<f", float("nan")))
    trust_present_bytes(pico_copy)
    assert set(missed(pico_copy)) >= {"tensors", "logits"}


def test_truncated_weights_and_wrong_shapes_are_seen(pico_copy: Path) -> None:
    path = pico_copy / "model.safetensors"
    edit_json(pico_copy / "config.json", intermediate_size=64)
    overwrite(path, path.stat().st_size - 1, b"")
    with path.open("r+b") as stream:
        stream.truncate(path.stat().st_size - 1000)
    found = missed(pico_copy)
    assert "bytes, expected" in found["file hashes"]
    assert set(found) == {"file hashes", "tensors", "loads and runs"}


def test_a_damaged_tokenizer_is_seen(pico_copy: Path) -> None:
    path = pico_copy / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    tokenizer["model"]["merges"] = []
    path.write_text(json.dumps(tokenizer))
    assert set(missed(pico_copy)) == {"tokenizer"}


def test_a_damaged_or_exchanged_reference_is_seen(pico_copy: Path) -> None:
    path = pico_copy / "reference" / "logits.safetensors"
    overwrite(path, path.stat().st_size - 4, struct.pack("<f", 1e6))
    assert set(missed(pico_copy)) == {"reference hash", "logits"}
    path.unlink()
    with pytest.raises(ManifestError, match="does not hold the reference logits"):
        verify(pico_copy, runtime="transformers")


def test_the_command_exits_1_on_a_miss(pico_copy: Path) -> None:
    flip_weight_bytes(pico_copy)
    done = forked("verify", pico_copy, "--runtime", "transformers", "--json")
    assert done.returncode == 1, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["passed"] is False
    assert "MISS" in done.stderr


def test_without_vllm_nothing_is_claimed(pico_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)  # what the import system itself uses for "not there"
    with pytest.raises(MissingDependencyError, match="--runtime transformers"):
        verify(pico_copy)
    assert manifest.read(pico_copy).verification == ()


@pytest.mark.slow
@pytest.mark.vllm
def test_real_vllm_sees_damage(pico_copy: Path) -> None:
    """That it agrees with what is whole is shown on the real model, in tests/test_pipeline.py."""
    flip_weight_bytes(pico_copy)
    trust_present_bytes(pico_copy)
    assert verify(pico_copy, runtime="vllm").verified is False
