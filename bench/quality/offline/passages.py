"""Sentences of the docstrings of Python's standard library, NumPy, SciPy and PyTorch, split by file.

A file is in the half that `compress.builtin_text` puts it in, so what a model was calibrated on by `builtin`
is in no question.
"""

import ast
import hashlib
import importlib.metadata
import importlib.util
import re
import sys
import sysconfig
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ....compress.text.builtin import Split, held_out

__all__ = ["Passage", "passages", "sources"]

_PACKAGES = ("numpy", "scipy", "torch")  # that dotresize itself needs
_LEFT_OUT = {"test", "tests", "site-packages", "dist-packages", "__pycache__", "idlelib", "lib2to3"}
_BREAK = re.compile(r"(?<=[.?!]) +(?=[A-Z])")
_PLAIN = re.compile(r"[A-Z][A-Za-z ,;'-]+\.")
_NO_PROSE = re.compile(r"-{4}|={4}|>>>|^ *\.\. |^ *[:|*-]|^\S+ : ", re.MULTILINE)
_WORDS = range(7, 31)
_LONGEST_BEFORE = 600  # characters
_LARGEST_FILE_BYTES = 400_000


@dataclass(frozen=True)
class Passage:
    """A sentence and what stands before it in its docstring."""

    before: str  # may be empty
    sentence: str  # ends in a full stop

    @property
    def is_plain(self) -> bool:
        """Whether it is of words alone: no names of code, no quotations, no numbers."""
        return bool(_PLAIN.fullmatch(self.sentence))


def sources() -> list[dict[str, str]]:
    """What the sentences are taken from: name, version and licence of each."""
    python = ".".join(map(str, sys.version_info[:3]))
    found = [{"name": "Python's standard library", "version": python, "licence": "PSF-2.0"}]
    for name in _PACKAGES:
        version = importlib.metadata.version(name)
        found.append({"name": name, "version": version, "licence": "BSD-3-Clause"})
    return found


def passages(split: Split) -> Iterator[Passage]:
    """Every sentence of one half, once, in an order that mixes files and packages."""
    seen: set[str] = set()
    for file in _files(split):
        for text in _docstrings(file):
            for passage in _of_text(text):
                if passage.sentence not in seen:
                    seen.add(passage.sentence)
                    yield passage


def _files(split: Split) -> list[Path]:
    """Source files, ordered by the hash of their names."""
    folders = [Path(sysconfig.get_path("stdlib"))]
    for name in _PACKAGES:
        found = importlib.util.find_spec(name)
        assert found is not None  # dotresize depends on it
        folders += map(Path, found.submodule_search_locations or ())
    named = [
        (name, folder / name)
        for folder in folders
        for name in (file.relative_to(folder).as_posix() for file in folder.rglob("*.py"))
        if not _LEFT_OUT & set(name.split("/")) and held_out(name) == (split == "evaluation")
    ]
    named.sort(key=lambda each: (hashlib.sha256(each[0].encode()).digest(), each[1].as_posix()))
    return [file for _, file in named if file.stat().st_size <= _LARGEST_FILE_BYTES]


def _docstrings(file: Path) -> list[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries' own odd escapes
        tree = ast.parse(file.read_text(encoding="utf-8", errors="replace"))
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found = [ast.get_docstring(node) for node in ast.walk(tree) if isinstance(node, kinds)]
    return [text for text in found if text]


def _of_text(text: str) -> Iterator[Passage]:
    """The sentences of a docstring's prose; tables, lists of parameters and examples are left out."""
    before = ""
    for paragraph in re.split(r"\n\s*\n", text):
        if _NO_PROSE.search(paragraph):
            continue
        for sentence in _BREAK.split(" ".join(paragraph.split())):
            if sentence.endswith(".") and len(sentence.split()) in _WORDS:
                yield Passage(before=before, sentence=sentence)
            before = f"{before} {sentence}".strip()
            if len(before) > _LONGEST_BEFORE:
                before = before[-_LONGEST_BEFORE:].partition(" ")[2]
