"""Calibration and evaluation texts: binary, endless, empty, of other formats."""

import json
import os
from pathlib import Path
from random import Random

from ...picos import ZEN
from ..case import Attempt, Sandbox
from ..operations import compress, perplexity

__all__ = ["BASES", "damage"]

BASES = ("llama",)
PATHS = (
    "nowhere.txt", "precious", "model", "text.md", "", ".", "/dev/zero", "/dev/stdin", "hf:", "hf::",
    "hf:no/where", "~nobody/x.txt", "a\0b.txt", "\ud800.txt", "x" * 300 + ".txt", "[/red].txt",
    "builtin.txt", "none.txt",
    "https://example.org/x.txt", "text.txt/x.txt", "../home/text.txt", "hf:../../precious", "hf:a:b:c",
)  # fmt: skip


def damage(box: Sandbox) -> Attempt:
    box.copy("llama")
    if box.rng.random() < 0.2:
        text, what = (path := box.rng.choice(PATHS)), f"text {path[:40]!r}"
    else:
        text, what = _write(box.home, box.rng)
    act = box.rng.choice(["calibration", "evaluation", "perplexity"])
    if act == "perplexity":
        return perplexity("model", damage=what, text=text)
    if act == "calibration":
        return compress(box, "model", damage=what, calibration=text, evaluation="none")
    return compress(box, "model", damage=what, evaluation=text if text else "./")


def _write(home: Path, rng: Random) -> tuple[str, str]:
    suffix = rng.choice([".txt", ".txt", ".jsonl", ".jsonl", ".parquet"])
    path = home / f"damaged{suffix}"
    special = rng.choice(["", "", "", "", "fifo", "directory", "endless", "socket link", "loop"])
    if special:
        _write_special(path, special)
        return path.name, f"{path.name}: {special}"
    if suffix == ".txt":
        content, what = _text(rng)
        path.write_bytes(content)
    elif suffix == ".jsonl":
        content, what = _lines(rng)
        path.write_bytes(content)
    else:
        what = _parquet(path, rng)
    return path.name, f"{path.name}: {what}"


def _write_special(path: Path, special: str) -> None:
    if special == "fifo":
        os.mkfifo(path)
    elif special == "directory":
        path.mkdir()
    elif special == "loop":
        path.symlink_to(path.name)
    else:
        path.symlink_to("/dev/zero" if special == "endless" else "/nowhere/socket")


def _text(rng: Random) -> tuple[bytes, str]:
    zen = ZEN.encode()
    contents = {
        "empty": b"",
        "blank": b" \n\t\n" * 100,
        "one word": b"word",
        "binary": rng.randbytes(4000),
        "NUL": b"\0" * 4000,
        "NUL inside": zen + b"\0\0\0" + zen,
        "surrogates": zen + b"\xed\xa0\x80" + zen,
        "UTF-16": ZEN.encode("utf-16"),
        "BOM": b"\xef\xbb\xbf" + zen,
        "one long line": b"a" * 400_000,
        "many spaces": b" " * 200_000 + zen,
        "control characters": bytes(range(1, 32)) * 200,
        "special tokens": b"<s></s>" * 500,
        "combining marks": "a\u0301".encode() * 3000,
        "repeated": b"the same line\n" * 500,
    }
    what = rng.choice(list(contents))
    return contents[what], what


def _lines(rng: Random) -> tuple[bytes, str]:
    good = json.dumps({"text": ZEN}).encode()
    contents = {
        "good": good,
        "empty": b"",
        "array": b"[1, 2]",
        "number": b"3\n" * 9,
        "null text": b'{"text": null}',
        "list text": b'{"text": ["a"]}',
        "other field": b'{"content": "x"}',
        "not json": b"{text: 1}",
        "deep": b"[" * 100_000,
        "not UTF-8": good + b"\n\xff\xfe",
        "surrogate": b'{"text": "\\ud800 ' + b'word " }',
        "surrogate in much": json.dumps({"text": ZEN + "\ud800" + ZEN}).encode(),
        "NUL": json.dumps({"text": "\0" * 3000}).encode(),
        "big number": b'{"text": 1' + b"0" * 5000 + b"}",
        "line separator": json.dumps({"text": ZEN + "\u2028" + ZEN}, ensure_ascii=False).encode(),
        "second bad": good + b'\n{"text": 5}',
    }
    what = rng.choice(list(contents))
    return contents[what], what


def _parquet(path: Path, rng: Random) -> str:
    import pyarrow
    import pyarrow.parquet

    columns = {
        "good": {"text": [ZEN, ZEN]},
        "other column": {"content": [ZEN]},
        "numbers": {"text": [1, 2, 3]},
        "nulls": {"text": pyarrow.array([None, None], pyarrow.string())},
        "lists": {"text": [["a"], ["b"]]},
        "bytes": {"text": [b"\xff\xfe" * 50]},
        "no rows": {"text": pyarrow.array([], pyarrow.string())},
    }
    what = rng.choice([*columns, "truncated", "binary", "empty"])
    pyarrow.parquet.write_table(pyarrow.table(columns.get(what, columns["good"])), path)
    content = path.read_bytes()
    if what == "truncated":
        path.write_bytes(content[: rng.randrange(len(content))])
    elif what == "binary":
        path.write_bytes(b"PAR1" + rng.randbytes(300) + b"PAR1")
    elif what == "empty":
        path.write_bytes(b"")
    return f"parquet {what}"
