"""Text specifications -> documents.

`builtin` is English that every Python carries: the documentation topics of `pydoc_data`. It has a
fixed split, so that text that was calibrated on is never evaluated on.
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from ..errors import TextError
from ..foreign import reading
from ..paths import path_of

__all__ = ["Split", "read_documents"]

Split = Literal["calibration", "evaluation"]
_MAX_HUB_CHARACTERS = 50_000_000
_LARGEST_FILE_BYTES = 2**31


def read_documents(spec: str, split: Split) -> list[str]:
    """The documents that a text specification names.

    Args:
        spec: `builtin`, a path ending in .txt, .jsonl (field `text`) or .parquet (column `text`), or
            `hf:NAME[:CONFIG]` (a dataset on the Hugging Face hub).
        split: which half of `builtin` or of an `hf:` dataset (train, or test) is meant. A file is one
            text: use different files for calibration and evaluation.

    Raises:
        TextError: the text is missing, unreadable, or holds no words.
    """
    if spec == "builtin":
        documents = _builtin(split)
    elif spec.startswith("hf:"):
        documents = _from_hub(spec, split)
    else:
        documents = _from_file(path_of(spec, "the text", TextError))
    documents = [document for document in documents if document.strip()]
    if not documents:
        raise TextError(f"{spec} holds no text; expected at least one non-empty document.")
    return documents


def _builtin(split: Split) -> list[str]:
    """Topics whose hash falls in the split; a paragraph of the evaluation half is never in the other."""
    from pydoc_data.topics import topics

    held_out = {name for name in topics if hashlib.sha256(name.encode()).digest()[0] % 5 == 0}
    evaluation = [topics[name] for name in sorted(held_out)]
    if split == "evaluation":
        return [_join(_unique(document for document in evaluation))]
    seen = {paragraph for document in evaluation for paragraph in _paragraphs(document)}
    rest = (topics[name] for name in sorted(topics) if name not in held_out)
    return [_join(paragraph for paragraph in _unique(rest) if paragraph not in seen)]


def _unique(documents: Iterator[str]) -> Iterator[str]:
    """Paragraphs in order, each once: the topics quote each other at length."""
    yield from dict.fromkeys(paragraph for document in documents for paragraph in _paragraphs(document))


def _paragraphs(document: str) -> list[str]:
    return [paragraph.strip("\n") for paragraph in document.split("\n\n") if paragraph.strip()]


def _join(paragraphs: Iterator[str]) -> str:
    return "\n\n".join(paragraphs)


def _from_file(path: Path) -> list[str]:
    readers: dict[str, Callable[[Path], list[str]]] = {
        ".txt": _read_txt,
        ".jsonl": _read_jsonl,
        ".parquet": _read_parquet,
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise TextError(
            f"{str(path)!r} is not a text source; expected `builtin`, a .txt, .jsonl or .parquet file, "
            "or hf:NAME[:CONFIG]."
        )
    if not path.is_file():
        raise TextError(f"{path} is not a file; check the path.")
    with reading(path, TextError):
        if (size_bytes := path.stat().st_size) > _LARGEST_FILE_BYTES:
            raise TextError(
                f"{path} has {size_bytes} bytes; expected at most {_LARGEST_FILE_BYTES}, cut a part out."
            )
        try:
            return reader(path)
        except UnicodeDecodeError as error:
            raise TextError(
                f"{path} is not UTF-8 text ({error.reason} at byte {error.start}); convert it first."
            ) from None


def _read_txt(path: Path) -> list[str]:
    return [path.read_text(encoding="utf-8")]


def _read_jsonl(path: Path) -> list[str]:
    documents = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path} line {number}"
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise TextError(f"{where} is not JSON ({error.msg}).") from None
        documents.append(_text_field(record, where))
    return documents


def _read_parquet(path: Path) -> list[str]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except pyarrow.ArrowException as error:
        raise TextError(f"{path} is not a readable parquet file ({error}).") from None
    if "text" not in table.column_names:
        raise TextError(f"{path} has columns {', '.join(table.column_names)}; expected a column `text`.")
    return [str(value) for value in table.column("text").to_pylist() if value is not None]


def _text_field(record: Any, where: str) -> str:
    if not isinstance(record, dict) or not isinstance(record.get("text"), str):
        raise TextError(f"{where} has no string field `text`; expected one JSON object per line with it.")
    text: str = record["text"]
    try:
        text.encode()
    except UnicodeEncodeError:
        raise TextError(f"{where} holds half of a surrogate pair, which is no text; leave it out.") from None
    return text


def _from_hub(spec: str, split: Split) -> list[str]:
    import datasets

    name, _, config = spec.removeprefix("hf:").partition(":")
    if not name.strip():
        raise TextError(f"{spec!r} names no dataset; expected hf:NAME[:CONFIG].")
    part = "train" if split == "calibration" else "test"
    advice = "check the name and the network, or use `builtin` or a local file"
    with reading(f"{spec} ({part} split)", TextError, by="datasets from the Hugging Face hub", advice=advice):
        rows = datasets.load_dataset(name, config or None, split=part, streaming=True)
        documents, characters = [], 0
        for row in rows:
            documents.append(_text_field(row, f"{spec} ({part})"))
            characters += len(documents[-1])
            if characters > _MAX_HUB_CHARACTERS:
                break
    return documents
