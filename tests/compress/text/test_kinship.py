"""Which texts a model was calibrated on, from names and hashes alone."""

import pytest

from dotresize.compress.record.report import CalibrationPart, CalibrationRecord
from dotresize.compress.text.kinship import kind_of, kinship


def _record(*names: str, sha256: str | None = "a") -> CalibrationRecord:
    parts = tuple(
        CalibrationPart(name=name, share=1.0, windows=1, drawn=(0,), text_sha256=sha256 and sha256 + name)
        for name in names
    )
    return CalibrationRecord(
        name=" + ".join(names), windows=1, window_tokens=8, sha256="0", seed=0, parts=parts
    )


@pytest.mark.parametrize(
    ("calibration", "text", "expected"),
    [
        (("a.txt",), "a.txt", "text"),
        (("a.txt", "b.txt"), "b.txt", "text"),
        (("a.txt",), "b.txt", None),
        (("builtin:code",), "builtin:code", "text"),
        (("self", "builtin:code"), "builtin:chat", None),
        (("chat.calibration.jsonl",), "chat.evaluation.jsonl", "kind"),
        (("chat.calibration.jsonl",), "code.evaluation.jsonl", None),
    ],
)
def test_names_and_hashes(calibration: tuple[str, ...], text: str, expected: str | None) -> None:
    assert kinship(_record(*calibration), _record(text)) == expected


def test_the_other_half_and_a_changed_file() -> None:
    assert kinship(_record("hf:wikitext"), _record("hf:wikitext", sha256="b")) == "kind"
    assert kinship(_record("a.txt"), _record("a.txt", sha256="b")) is None


def test_older_manifests_know_names_only() -> None:
    assert kinship(_record("a.txt", sha256=None), _record("a.txt")) == "text"
    assert kinship(_record("builtin:documentation", sha256=None), _record("builtin:documentation")) == "kind"


def test_kinds() -> None:
    assert kind_of("a.evaluation.jsonl") == "a.jsonl"
    assert kind_of("my.evaluation.of.things.txt") is None
    assert kind_of("builtin:code") == "builtin:code"
