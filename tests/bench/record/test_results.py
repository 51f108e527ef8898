"""The results file as a contract: what is written is read back, and nothing else is."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from dotresize.bench.record.results import SCHEMA_VERSION, read, write
from dotresize.errors import InputError

from ..example_results import example_results


@pytest.fixture
def data() -> dict[str, Any]:
    return json.loads(json.dumps(asdict(example_results())))


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    results = example_results()
    write(results, tmp_path / "r.json")
    assert read(tmp_path / "r.json") == results


def test_a_newer_schema_is_refused_politely(data: dict[str, Any], tmp_path: Path) -> None:
    data["schema_version"] = SCHEMA_VERSION + 1
    (tmp_path / "r.json").write_text(json.dumps(data))
    with pytest.raises(InputError, match=f"schema {SCHEMA_VERSION + 1}, newer than this dotresize"):
        read(tmp_path / "r.json")


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda data: data.pop("models"), "models"),
        (lambda data: data["measurements"][0].update(status="fine"), "measurements.0.status"),
        (lambda data: data["measurements"][0].update(round="first"), "measurements.0.round"),
        (lambda data: data["models"][0].update(hidden_size=None), "models.0.hidden_size"),
        (lambda data: data["comparisons"][0].update(speedup="1.2x"), "comparisons.0.speedup"),
    ],
)
def test_what_does_not_follow_the_schema_is_named(
    change: Any, place: str, data: dict[str, Any], tmp_path: Path
) -> None:
    change(data)
    (tmp_path / "r.json").write_text(json.dumps(data))
    with pytest.raises(InputError, match=f"results schema {SCHEMA_VERSION}. is damaged at {place}"):
        read(tmp_path / "r.json")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": 1}', '{"schema_version": "one"}'])
def test_other_files_are_no_results(text: str, tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(InputError, match=r"r\.json (holds no|cannot be read as) benchmark results"):
        read(tmp_path / "r.json")
    with pytest.raises(InputError, match="cannot be read as benchmark results"):
        read(tmp_path / "missing.json")
