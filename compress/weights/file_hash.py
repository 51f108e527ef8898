"""The hash of a file, and of several: the one definition for weights, wherever they are named."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

__all__ = ["file_sha256", "files_sha256"]


def file_sha256(path: Path) -> str:
    """Hash one file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def files_sha256(hashes: Iterable[tuple[str, str]]) -> str:
    """One hash over several files, from the name and the hash of each."""
    lines = "".join(f"{sha256}  {name}\n" for name, sha256 in sorted(hashes))
    return hashlib.sha256(lines.encode()).hexdigest()
