"""Texts that every Python carries, each split by file into a calibration and an evaluation half.

documentation   English: the topics of `pydoc_data`
code            Python: the standard library's own source files
chat            questions and answers: its docstrings, as conversations
"""

import ast
import hashlib
import sysconfig
import warnings
from collections.abc import Iterable, Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Literal

from ...errors import TextError
from .conversation import Conversation, Turn

__all__ = ["Split", "chat", "code", "documentation", "held_out", "without_paragraphs_of"]

Split = Literal["calibration", "evaluation"]

# Files of the standard library that are data, generated, other projects' or not always installed.
_NOT_CODE = {
    "site-packages",
    "dist-packages",
    "__pycache__",
    "test",
    "tests",
    "idlelib",
    "lib2to3",
    "encodings",
}
_NOT_CODE |= {"pydoc_data", "turtledemo", "ensurepip", "idle_test", "config"}
_LONGEST_FILE = {"calibration": 16_000, "evaluation": 6_000}  # characters, so that many files have a say
_MOST_CODE = {"calibration": 500_000, "evaluation": 60_000}  # characters
_MOST_CHAT = {"calibration": 300_000, "evaluation": 45_000}  # characters
_MOST_QUESTIONS = 8  # of a conversation
_QUESTIONS = (
    "What does {name} do in Python?",
    "How do I use {name}?",
    "Can you explain {name} to me?",
    "What is {name} for?",
    "Tell me about {name}.",
    "I came across {name} in some code. What is it?",
    "When would I need {name}?",
)


def held_out(name: str) -> bool:
    """Whether a document of this name belongs to the evaluation half: about one in five does."""
    return hashlib.sha256(name.encode()).digest()[0] % 5 == 0


@cache
def documentation(split: Split) -> str:
    """Topics of Python's documentation; a paragraph of the evaluation half is never in the other."""
    from pydoc_data.topics import topics

    evaluation = [topics[name] for name in sorted(topics) if held_out(name)]
    if split == "evaluation":
        return _join(_unique(evaluation))
    rest = [topics[name] for name in sorted(topics) if not held_out(name)]
    return without_paragraphs_of(evaluation, _join(_unique(rest)))


@cache
def code(split: Split) -> tuple[str, ...]:
    """The beginnings of source files of the standard library, in an order that mixes its packages.

    Raises:
        TextError: this Python has no sources.
    """
    documents = (text[: _LONGEST_FILE[split]] for _, text in _sources(split))
    return _as_much(documents, _MOST_CODE[split])


@cache
def chat(split: Split) -> tuple[Conversation, ...]:
    """Questions about what a module of the standard library defines, answered by its docstrings.

    A file is in the same half as its code.

    Raises:
        TextError: this Python has no sources.
    """
    conversations: list[Conversation] = []
    characters = 0
    for name, text in _sources(split):
        turns = [turn for pair in islice(_answers(name, text), _MOST_QUESTIONS) for turn in pair]
        if turns:
            conversations.append(Conversation(turns=tuple(turns)))
            characters += sum(len(turn.content) for turn in turns)
        if characters > _MOST_CHAT[split]:
            break
    return tuple(conversations)


def _answers(name: str, text: str) -> Iterator[tuple[Turn, Turn]]:
    """A question and its answer for every public class and function of a file with a telling docstring."""
    module = name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the library's own odd escapes
        tree = ast.parse(text)
    for node in tree.body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef) or node.name.startswith("_"):
            continue
        answer = ast.get_docstring(node) or ""
        if 200 <= len(answer) <= 3000:
            asked = _QUESTIONS[len(answer) % len(_QUESTIONS)].format(name=f"{module}.{node.name}")
            yield Turn(role="user", content=asked), Turn(role="assistant", content=answer)


def _sources(split: Split) -> Iterator[tuple[str, str]]:
    """Name and text of the library's source files of one half, mixed by the hash of their names."""
    library = Path(sysconfig.get_path("stdlib"))
    names = [
        file.relative_to(library).as_posix()
        for file in library.rglob("*.py")
        if not any(
            part in _NOT_CODE or part.startswith("config-") for part in file.relative_to(library).parts
        )
    ]
    if not names:
        raise TextError(f"{library} holds no Python sources; name a text file instead of builtin.")
    for name in sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest()):
        if held_out(name) == (split == "evaluation"):
            text = (library / name).read_text(encoding="utf-8", errors="replace")
            if 400 < len(text) < 60_000:  # an empty __init__.py says nothing, and a long file takes long
                yield name, text


def _as_much(documents: Iterable[str], characters: int) -> tuple[str, ...]:
    kept: list[str] = []
    for document in documents:
        kept.append(document)
        characters -= len(document)
        if characters <= 0:
            break
    return tuple(kept)


def without_paragraphs_of(evaluation: Iterable[str], text: str) -> str:
    """`text` without the paragraphs that one of the evaluation documents holds as well."""
    seen = {paragraph for document in evaluation for paragraph in _paragraphs(document)}
    return _join(paragraph for paragraph in _paragraphs(text) if paragraph not in seen)


def _unique(documents: Iterable[str]) -> Iterator[str]:
    """Paragraphs in order, each once: the topics quote each other at length."""
    yield from dict.fromkeys(paragraph for document in documents for paragraph in _paragraphs(document))


def _paragraphs(document: str) -> list[str]:
    return [paragraph.strip("\n") for paragraph in document.split("\n\n") if paragraph.strip()]


def _join(paragraphs: Iterable[str]) -> str:
    return "\n\n".join(paragraphs)
