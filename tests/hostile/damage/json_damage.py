"""Damage to a JSON document: one field of it, or the file as a whole."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

__all__ = ["ABSURD", "damage_file", "mutate_file", "set_fields"]

ABSURD: list[Any] = [
    None, True, False, -1, 0, 1, 3, 2**31, 10**19, 1.5, 1e308, float("nan"), float("inf"), "", "word",
    "[/red]", "\ud800", "\0", [], {}, [[]], [None], {"a": 1}, ["x"] * 50, "x" * 100_000,
]  # fmt: skip
FILE_DAMAGES = (
    "gone", "empty", "truncated", "binary", "deep", "other value", "not UTF-8", "BOM", "NUL inside",
    "duplicate keys", "directory", "fifo", "endless", "dangling link", "link to itself", "comma",
)  # fmt: skip


def set_fields(path: Path, fields: dict[str, Any], *, without: tuple[str, ...] = ()) -> None:
    """Overwrite top-level fields of a JSON file."""
    data = json.loads(path.read_text()) | fields
    path.write_text(json.dumps({key: value for key, value in data.items() if key not in without}))


def mutate_file(path: Path, rng: Random) -> str:
    """Damage one value somewhere in the document; says what was done."""
    data = json.loads(path.read_text())
    places = list(_places(data))
    container, key, name = rng.choice(places)
    action = rng.choice(["absurd", "absurd", "absurd", "gone", "renamed", "deep", "wrapped"])
    if action == "gone":
        del container[key]
    elif action == "renamed" and isinstance(container, dict):
        container[f"{key}_"] = container.pop(key)
    elif action == "deep":
        container[key] = _nested(rng.choice([5, 150, 5000]))
    elif action == "wrapped":
        container[key] = rng.choice([[container[key]], {"value": container[key]}, str(container[key])])
    else:
        action = "absurd"
        container[key] = rng.choice(ABSURD)
    text = _dump(data)
    path.write_text(text)
    shown = repr(container[key])[:40] if action == "absurd" else action
    return f"{path.name}: {name} = {shown}"


def damage_file(path: Path, rng: Random, damage: str | None = None) -> str:
    """Damage a text file as a whole, without looking at what it means; says what was done."""
    damage = damage or rng.choice(FILE_DAMAGES)
    content = path.read_bytes()
    path.unlink()
    if damage == "directory":
        path.mkdir()
    elif damage == "fifo":
        os.mkfifo(path)
    elif damage == "endless":
        path.symlink_to("/dev/zero")
    elif damage == "dangling link":
        path.symlink_to("nowhere")
    elif damage == "link to itself":
        path.symlink_to(path.name)
    elif damage != "gone":
        path.write_bytes(_content(content, damage, rng))
    return f"{path.name}: {damage}"


def _content(content: bytes, damage: str, rng: Random) -> bytes:
    middle = len(content) // 2
    return {
        "empty": b"",
        "truncated": content[: rng.randrange(1, max(2, len(content)))],
        "binary": rng.randbytes(500),
        "deep": b"[" * 100_000 + b"]" * 100_000,
        "other value": rng.choice([b"null", b"[]", b"3", b'"text"', b"{}", b"NaN", b"[1, 2]", b"true"]),
        "not UTF-8": content[:middle] + b"\xff\xfe" + content[middle:],
        "BOM": b"\xef\xbb\xbf" + content,
        "NUL inside": content[:middle] + b"\0" + content[middle:],
        "duplicate keys": content.replace(b"{", b'{"a": 1, "a": [2], ', 1),
        "comma": content.replace(b",", b",,", 1),
    }[damage]


def _places(data: Any, name: str = "") -> Iterator[tuple[Any, Any, str]]:
    """Every value of the document: its container, its key there, and its path."""
    pairs = list(data.items()) if isinstance(data, dict) else list(enumerate(data))
    for key, value in pairs[:40]:
        path = f"{name}.{key}" if name else str(key)
        yield data, key, path[:80]
        if isinstance(value, dict | list):
            yield from _places(value, path)


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def _dump(data: Any) -> str:
    """As text; documents deeper than Python's own encoder goes are written by hand."""
    try:
        return json.dumps(data)
    except RecursionError:
        return "[" * 5000 + "]" * 5000
