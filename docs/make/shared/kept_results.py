"""Results of a page's rows as they finish, so that an interrupted maker goes on."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dotresize.bench.process.environment import read_environment

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["load", "machines", "store"]


def load(file: Path, setting: "DataclassInstance", *parts: str) -> dict[str, Any]:
    """What a results file holds, or a fresh start where it is of another setting or there is none.

    Args:
        file: JSON, of `store`.
        setting: what all rows share.
        parts: keys that are empty dictionaries at a fresh start.
    """
    file.parent.mkdir(parents=True, exist_ok=True)  # before the first row, which may take minutes
    asked = json.loads(json.dumps(asdict(setting)))
    fresh: dict[str, Any] = {"setting": asked, "machines": [], **{part: {} for part in parts}}
    if file.is_file():
        kept: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if kept.get("setting") == asked:
            return fresh | kept
    return fresh


def store(file: Path, results: dict[str, Any]) -> None:
    """Replace a results file, and note this machine in it, beside those of earlier runs."""
    found = read_environment()
    machine = {"processor": found.processor, "cores": found.cores, "versions": found.versions}
    if machine not in results["machines"]:
        results["machines"].append(machine)
    temporary = file.with_name(file.name + ".tmp")
    temporary.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    temporary.rename(file)


def machines(results: dict[str, Any], *software: str) -> str:
    """All machines that rows of a results file were measured on, in the order in which they came.

    Args:
        results: of `load`, stored once at least.
        software: distributions whose versions to name.
    """
    found = []
    for each in results["machines"]:
        versions = "".join(f", {name} {each['versions'][name.lower()]}" for name in software)
        found.append(f"{each['processor']} ({each['cores']} cores{versions})")
    return " and ".join(dict.fromkeys(found)) or "no machine yet"
