"""The gate for foreign exceptions: whatever a reader raises becomes one of ours, and nothing else changes."""

from pathlib import Path
from typing import Any

import pytest

from dotresize.errors import ManifestError, ModelError, TextError
from dotresize.foreign import first_line, reading
from dotresize.json_files import DEEPEST, parse_json, read_json, validated


@pytest.mark.parametrize(
    "raised",
    [
        AttributeError("x"),
        TypeError("x"),
        KeyError("x"),
        IndexError("x"),
        RecursionError("x"),
        Exception("x"),
    ],
)
def test_whatever_a_reader_raises_becomes_ours(raised: Exception) -> None:
    with pytest.raises(TextError, match="^thing cannot be read by us: .*x.?; look again$"):  # noqa: SIM117
        with reading("thing", TextError, by="us", advice="look again"):
            raise raised


def test_our_errors_and_interrupts_pass_unchanged() -> None:
    with pytest.raises(ModelError, match="^mine$"), reading("thing", TextError):
        raise ModelError("mine")
    with pytest.raises(KeyboardInterrupt), reading("thing"):
        raise KeyboardInterrupt


def test_the_cause_is_kept() -> None:
    cause = ValueError("why")
    with pytest.raises(ModelError) as caught, reading("thing"):
        raise cause
    assert caught.value.__cause__ is cause


def test_first_line_is_bounded_and_printable() -> None:
    assert first_line(ValueError("\n  a\x1b[31m\nb")) == "a?[31m"
    assert first_line(ValueError("")) == "ValueError"
    assert first_line(KeyError("field")).startswith("KeyError")
    assert len(first_line(ValueError("y" * 10_000))) == 300


def test_json_is_bounded_in_depth_and_size(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="nests deeper"):
        parse_json("[" * (DEEPEST + 1), "it")
    assert parse_json('{"a": "[[[[\\"["}', "it") == {"a": '[[[["['}
    path = tmp_path / "a.json"
    path.write_text("[1, 2]")
    with pytest.raises(ManifestError, match="has 6 bytes; expected at most 5"):
        read_json(path, largest_bytes=5)
    path.write_bytes(b"\xff")
    with pytest.raises(ModelError, match=r"a\.json cannot be read"):
        read_json(path, ModelError)


@pytest.mark.parametrize(("value", "field"), [({"a": "x"}, "a: "), ([], "the whole: ")])
def test_a_wrong_kind_names_its_field(value: Any, field: str) -> None:
    with pytest.raises(ManifestError, match=f"it is damaged at {field}"):
        validated(dict[str, int], value, "it")
    assert validated(dict[str, int], {"a": 1}, "it") == {"a": 1}
