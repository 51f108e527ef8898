"""The pages that are in the repository say what the results beside them say."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from docs.make.adapters import page as adapters
from docs.make.bits import page as bits
from docs.make.fidelity.maker import files_of
from docs.make.plan import page as plan
from docs.make.quality import page as quality
from docs.make.quality.maker import COMMAND
from docs.make.recovery import page as recovery
from docs.make.scale import page as scale
from docs.make.tasks import page as tasks

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES: dict[str, Callable[[dict[str, Any]], str]] = {
    "ADAPTERS": adapters.render,
    "BITS": lambda results: bits.render(results, "BITS.svg"),
    "FIDELITY": lambda results: files_of(results, "FIDELITY")["FIDELITY.md"],
    "PLAN": lambda results: plan.render(results, "PLAN.svg"),
    "QUALITY": lambda results: quality.render(results, COMMAND, "QUALITY.svg"),
    "RECOVER": lambda results: recovery.render(results, "RECOVER.svg"),
    "SCALE": scale.render,
    "TASKS": tasks.render,
}


def test_every_results_file_has_a_page() -> None:
    assert {file.stem for file in DOCS.glob("*.json")} == set(PAGES)


@pytest.mark.parametrize("stem", PAGES)
def test_a_page_is_what_its_results_give(stem: str) -> None:
    results = json.loads((DOCS / f"{stem}.json").read_text(encoding="utf-8"))
    text = (DOCS / f"{stem}.md").read_text(encoding="utf-8")
    assert PAGES[stem](results) == text, f"{stem}.md is of other results"
    for picture in re.findall(r"!\[[^]]*\]\(([^)]+)\)", text):
        assert (DOCS / picture).is_file()
