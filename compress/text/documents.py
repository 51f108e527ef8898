"""Text specifications -> documents.

`builtin` is text that every Python carries (`builtin_text.py`). It has a fixed split, so that text that was
calibrated on is never evaluated on.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ...errors import TextError
from ...foreign import reading
from ...paths import path_of
from ..weights.hub import hub_advice, offline
from .builtin import Split, chat, code, documentation
from .conversation import Conversation, conversation_of

__all__ = ["Document", "Split", "evaluation_texts", "is_file_name", "name_of", "read_documents"]

Document = str | Conversation
_BUILTIN: dict[str, Callable[[Split], list[Document]]] = {
    "builtin:documentation": lambda split: [documentation(split)],
    "builtin:code": lambda split: [*code(split)],
    "builtin:chat": lambda split: [*chat(split)],
}
_MAX_HUB_CHARACTERS = 50_000_000
_LARGEST_FILE_BYTES = 2**31
_HUB_SECONDS = 10.0


def read_documents(spec: str, split: Split) -> list[Document]:
    """The documents that a text specification names.

    Args:
        spec: `builtin:documentation`, `builtin:code`, `builtin:chat`, `builtin` for all three, a path ending
            in .txt, .jsonl (field `text`, or `messages` for a conversation) or .parquet (column `text`), or
            `hf:NAME[:CONFIG]` (a dataset on the Hugging Face hub).
        split: which half of `builtin` or of an `hf:` dataset (train, or test) is meant. A file is one
            text: use different files for calibration and evaluation.

    Raises:
        TextError: the text is missing, unreadable, or holds no words.
    """
    documents: list[Document]
    if spec == "builtin":
        documents = [document for part in _BUILTIN.values() for document in part(split)]
    elif spec in _BUILTIN:
        documents = _BUILTIN[spec](split)
    elif spec.startswith("hf:"):
        documents = _from_hub(spec, split)
    else:
        documents = _from_file(path_of(spec, "the text", TextError))
    documents = [document for document in documents if document.strip()]
    if not documents:
        raise TextError(f"{spec} holds no text; expected at least one non-empty document.")
    return documents


def evaluation_texts(specs: Sequence[str]) -> list[str]:
    """The texts to score one by one: `builtin` stands for each of its texts, and each is there once."""
    taken_apart = (part for spec in specs for part in (_BUILTIN if spec == "builtin" else (spec,)))
    return list(dict.fromkeys(taken_apart))


def is_file_name(spec: str) -> bool:
    """Whether a specification means a file, there or not."""
    return spec not in ("builtin", "self", *_BUILTIN) and not spec.startswith("hf:")


def name_of(spec: str) -> str:
    """What a manifest calls a text: a specification, or a file's name without its folder."""
    if spec == "self" or spec.startswith(("builtin", "hf:")):
        return spec
    return spec.replace("\\", "/").rsplit("/", 1)[-1]


def _from_file(path: Path) -> list[Document]:
    readers: dict[str, Callable[[Path], list[Document]]] = {
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


def _read_txt(path: Path) -> list[Document]:
    return [path.read_text(encoding="utf-8")]


def _read_jsonl(path: Path) -> list[Document]:
    documents: list[Document] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path} line {number}"
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise TextError(f"{where} is not JSON ({error.msg}).") from None
        documents.append(_document(record, where))
    return documents


def _read_parquet(path: Path) -> list[Document]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except pyarrow.ArrowException as error:
        raise TextError(f"{path} is not a readable parquet file ({error}).") from None
    if "text" not in table.column_names:
        raise TextError(f"{path} has columns {', '.join(table.column_names)}; expected a column `text`.")
    return [str(value) for value in table.column("text").to_pylist() if value is not None]


def _document(record: Any, where: str) -> Document:
    if isinstance(record, dict) and "messages" in record:
        conversation = conversation_of(record["messages"], where)
        _check_text(conversation.strip(), where)
        return conversation
    if not isinstance(record, dict) or not isinstance(record.get("text"), str):
        raise TextError(
            f"{where} has no string field `text`; expected one JSON object per line with it, "
            "or with `messages`."
        )
    text: str = record["text"]
    _check_text(text, where)
    return text


def _check_text(text: str, where: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise TextError(f"{where} holds half of a surrogate pair, which is no text; leave it out.") from None


def _from_hub(spec: str, split: Split) -> list[Document]:
    name, _, config = spec.removeprefix("hf:").partition(":")
    if not name.strip():
        raise TextError(f"{spec!r} names no dataset; expected hf:NAME[:CONFIG].")
    part = "train" if split == "calibration" else "test"
    _check_reachable(spec, name)
    import datasets

    advice = "check the name and the network, or use `builtin` or a local file"
    with reading(f"{spec} ({part} split)", TextError, by="datasets from the Hugging Face hub", advice=advice):
        rows = datasets.load_dataset(name, config or None, split=part, streaming=True)
        documents: list[Document] = []
        characters = 0
        for row in rows:
            documents.append(_document(row, f"{spec} ({part})"))
            characters += len(documents[-1].strip())
            if characters > _MAX_HUB_CHARACTERS:
                break
    return documents


def _check_reachable(spec: str, name: str) -> None:
    """Ask the hub once for the data set; `datasets` would try for half a minute before it says so."""
    from huggingface_hub import HfApi

    if offline():
        raise TextError(
            f"{spec} is read from the hub, and HF_HUB_OFFLINE is set; unset it, or use `builtin` or a file."
        )
    try:
        with reading(spec, TextError, by="the Hugging Face hub"):
            HfApi().dataset_info(name, timeout=_HUB_SECONDS)
    except TextError as error:
        advice = hub_advice(error.__cause__, f"datasets/{name}")
        raise TextError(f"{spec} cannot be read: {advice}; or use `builtin` or a local file.") from error
