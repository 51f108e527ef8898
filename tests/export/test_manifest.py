"""The manifest contract: round trip, stability, polite refusals."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from dotresize.errors import ManifestError
from dotresize.export.contract import manifest
from dotresize.export.contract.manifest import Check, FileRecord, Manifest

LATER = ("recovery", "quantisation", "adaptation")  # keys that came after the first release of the schema
CHECK = Check(
    name="logits",
    runtime="numpy 2",
    measured={"max_abs_error": 0.5},
    limits={"max_abs_error": 1},
    passed=False,
    note="",
)
EXPORT = Manifest(
    format="onnx",
    precision="int4",
    provider="cpu",
    source=manifest.Provenance(format="huggingface", precision="float32", manifest_sha256="a" * 64),
    files={"model.onnx": FileRecord(bytes=3, sha256="b" * 64)},
    reference="c" * 64,
    verification=(CHECK,),
)


def test_round_trip(tmp_path: Path) -> None:
    manifest.write(EXPORT, tmp_path)
    assert manifest.read(tmp_path) == EXPORT
    assert [path.name for path in tmp_path.iterdir()] == ["dotresize.json"]


def test_round_trip_with_a_report(pico_saved: Path, tmp_path: Path) -> None:
    record = manifest.read(pico_saved)
    assert record.report is not None
    manifest.write(record, tmp_path)
    assert (tmp_path / "dotresize.json").read_bytes() == (pico_saved / "dotresize.json").read_bytes()


def test_verifying_does_not_change_the_identity() -> None:
    assert replace(EXPORT, verification=()).sha256 == EXPORT.sha256
    assert replace(EXPORT, precision="int8").sha256 != EXPORT.sha256
    assert EXPORT.verified is False
    assert replace(EXPORT, verification=()).verified is None


def test_version_1_as_it_was_first_written_stays_readable() -> None:
    record = manifest.read(Path(__file__).parent / "manifest_v1")
    assert record.format == "huggingface"
    assert record.report is not None
    assert record.report.narrow.hidden_size == 64


def test_nothing_volatile_inside(pico_saved: Path, tmp_path: Path) -> None:
    text = (pico_saved / "dotresize.json").read_text()
    assert str(pico_saved.parent) not in text
    assert "second" not in text
    assert "/tmp" not in text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"schema_version": 2, "tool_version": "9.0"}', "newer.*written by dotresize 9.0, upgrade"),
        ('{"schema_version": "1"}', "expected a whole number"),
        ('{"schema_version": 1}', "'tool_version' is missing"),
        ('{"schema_ver', "cannot be read"),
        ("[]", "holds a list"),
    ],
)
def test_damage_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "dotresize.json").write_text(text)
    with pytest.raises(ManifestError, match=message):
        manifest.read(tmp_path)


def test_every_missing_or_misplaced_key_is_refused(pico_saved: Path, tmp_path: Path) -> None:
    whole = json.loads((pico_saved / "dotresize.json").read_text())
    for key in whole:
        missing = {k: v for k, v in whole.items() if k != key}
        for damaged in ({**whole, key: 7.5}, *([missing] if key not in LATER else [])):
            (tmp_path / "dotresize.json").write_text(json.dumps(damaged))
            with pytest.raises(ManifestError, match="dotresize.json: "):
                manifest.read(tmp_path)


def test_a_directory_that_is_not_ours(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="not written by dotresize, or not finished"):
        manifest.read(tmp_path)
