"""What the pages say about the code is there: files, and what is in them."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REFERENCE = re.compile(r"`((?:compress|export|serve|bench|recover|plan)/[\w/]+?)(?:\.py|\.(\w+)(?:\.\w+)*)?`")


def stale(text: str) -> list[str]:
    """The references of a page to files, or to names in them, that do not exist."""
    return [match[0] for match in REFERENCE.finditer(text) if not exists(match[1], match[2])]


def exists(place: str, name: str | None) -> bool:
    file = ROOT / f"{place}.py"
    if name is None or not file.is_file():
        return file.is_file() or (ROOT / place).is_dir()
    return any(
        isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name
        for node in ast.parse(file.read_text(encoding="utf-8")).body
    )


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "docs/METHOD.md"])
def test_a_page_names_what_exists(page: str) -> None:
    assert stale((ROOT / page).read_text(encoding="utf-8")) == []


def test_what_does_not_exist_is_found() -> None:
    text = (
        "`compress/maths/fit.ridge_solve`, `compress/maths/fit.py`, `compress/maths/fit.gone`, `bench/gone`"
    )
    assert stale(text) == ["`compress/maths/fit.gone`", "`bench/gone`"]
