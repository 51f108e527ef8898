"""Files of other projects -> plain documents: HTML, POD, docstrings, worked answers and conversations.

A document carries the name of its file, because a domain is split by file and never by window.
"""

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

from dotresize.compress.text.conversation import Conversation, Turn
from dotresize.errors import TextError
from dotresize.foreign import reading

__all__ = ["NamedText", "chats", "docstrings", "html_pages", "pod_pages", "worked_answers"]


@dataclass(frozen=True, kw_only=True)
class NamedText:
    """One document and the file (or the conversation) that it comes from."""

    name: str
    document: str | Conversation


_WORDS = {  # the most frequent ones
    "english": (
        "the",
        "of",
        "and",
        "to",
        "is",
        "in",
        "that",
        "for",
        "with",
        "this",
        "are",
        "be",
        "can",
        "by",
    ),
    "german": ("der", "die", "das", "und", "ist", "zu", "den", "mit", "von", "ein", "eine", "nicht", "auf"),
    "french": ("le", "la", "les", "des", "et", "est", "un", "une", "du", "que", "pour", "dans", "pas", "qui"),
}


def html_pages(folder: Path, language: str) -> Iterator[NamedText]:
    """The text of every section of a book made by Publican, without navigation and tables of contents.

    Args:
        folder: with the book's pages.
        language: a key of `_WORDS`; paragraphs that have not been translated into it are left out.
    """
    for file in sorted(folder.rglob("sect.*.html")):
        parser = _Page()
        with reading(file, TextError):
            parser.feed(file.read_text(encoding="utf-8"))
        yield NamedText(
            name=file.relative_to(folder).as_posix(), document=_translated(parser.text(), language)
        )


def _translated(text: str, language: str) -> str:
    paragraphs = text.split("\n\n")
    return "\n\n".join(
        paragraph for paragraph in paragraphs if _hits(paragraph, language) >= _hits(paragraph, "english")
    )


def _hits(paragraph: str, language: str) -> int:
    return sum(word in _WORDS[language] for word in paragraph.lower().split())


class _Page(HTMLParser):
    _SKIPPED = ("script", "style", "head", "nav", "form")
    _BLOCKS = (
        "p",
        "div",
        "li",
        "pre",
        "table",
        "tr",
        "dt",
        "dd",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "br",
        "ul",
        "ol",
    )
    _VOID = ("br", "hr", "img", "meta", "link", "input", "col", "wbr", "area", "base")

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._parts: list[str] = []
        self._skipping = 0  # how many open elements are inside the one that is left out
        self._verbatim = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._skipping:
            self._skipping += tag not in self._VOID
            return
        values = dict(attrs)
        if (
            tag in self._SKIPPED
            or "docnav" in (values.get("class") or "")
            or values.get("id") in ("title", "banner")
        ):
            self._skipping = 1
            return
        self._verbatim += tag == "pre"
        if tag in self._BLOCKS:
            self._parts.append("\n\n")

    def handle_endtag(self, tag: str) -> None:
        if self._skipping:
            self._skipping -= tag not in self._VOID
            return
        self._verbatim -= tag == "pre"
        if tag in self._BLOCKS:
            self._parts.append("\n\n")

    def handle_data(self, data: str) -> None:
        if not self._skipping:
            self._parts.append(data if self._verbatim else re.sub(r"\s+", " ", data))

    def text(self) -> str:
        """Paragraphs with one empty line between them."""
        lines = "".join(self._parts).split("\n")
        stripped = "\n".join(line.rstrip() if line.startswith("  ") else line.strip() for line in lines)
        return re.sub(r"\n{3,}", "\n\n", stripped).strip()


def pod_pages(folder: Path) -> Iterator[NamedText]:
    """Perl's own manuals, with the marks of headings and of formatting taken out."""
    for file in sorted(folder.rglob("*.pod")):
        if "delta" in file.name or file.name in ("perltoc.pod", "perlintern.pod", "perlapi.pod"):
            continue  # lists of changes and of names
        with reading(file, TextError):
            text = file.read_text(encoding="utf-8", errors="replace")
        yield NamedText(name=file.name, document=_plain_pod(text))


def _plain_pod(text: str) -> str:
    text = re.sub(r"(?ms)^=(?:begin|for)\b.*?(?:^=end\b[^\n]*\n|\n\n)", "", text)
    text = re.sub(r"(?m)^=(?:head\d|item) ?", "", text)
    text = re.sub(r"(?m)^=\w+[^\n]*\n", "", text)
    text = re.sub(r"[XZ]<[^<>]*>", "", text)
    for _ in range(3):  # they nest
        text = re.sub(r"L<(?:[^<>|]*\|)?([^<>]*)>", r"\1", text)
        text = re.sub(r"[BCIFS]<<* ?([^<>]*?) ?>*>", r"\1", text)
    named = {"lt": "<", "gt": ">", "verbar": "|", "sol": "/"}
    text = re.sub(r"E<(\w+)>", lambda match: named.get(match[1], match[1]), text)
    return re.sub(r"\n{3,}", "\n\n", text).strip()


def docstrings(folder: Path) -> Iterator[NamedText]:
    """The docstrings of every Python file below a folder, those of its tests left out."""
    for file in sorted(folder.rglob("*.py")):
        if "tests" in file.parts:
            continue
        with reading(file, TextError):
            tree = ast.parse(file.read_text(encoding="utf-8"))
        kinds = (ast.Module, ast.ClassDef, ast.FunctionDef)
        found = [ast.get_docstring(node) or "" for node in ast.walk(tree) if isinstance(node, kinds)]
        long_enough = [text for text in found if len(text) > 400]
        if long_enough:
            name = file.relative_to(folder).as_posix()
            yield NamedText(name=name, document="\n\n\n".join(long_enough))


def worked_answers(folder: Path) -> Iterator[NamedText]:
    """lm-eval's questions with an answer step by step: a conversation per subject."""
    import yaml

    for file in sorted(folder.glob("mmlu_*.yaml")):
        with reading(file, TextError):
            samples = yaml.safe_load(file.read_text(encoding="utf-8"))["fewshot_config"]["samples"]
            turns = [
                Turn(role=role, content=str(sample[field]).strip())
                for sample in samples
                for role, field in (("user", "question"), ("assistant", "target"))
            ]
        yield NamedText(name=file.name, document=Conversation(turns=tuple(turns)))


def chats(file: Path) -> Iterator[NamedText]:
    """Chats between two people: who speaks first is the user, who answers the assistant."""
    with reading(file, TextError):
        conversations = json.loads(file.read_text(encoding="utf-8"))
        for name, conversation in conversations.items():
            turns = [
                Turn(role=("user", "assistant")[index % 2], content=" ".join(each["text"] for each in part))
                for index, part in enumerate(conversation["messages"])
            ]
            if len(turns) >= 8:
                yield NamedText(name=name, document=Conversation(turns=tuple(turns)))
