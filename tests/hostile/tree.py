"""A directory tree as data: what was there before a command, and what is there after it."""

import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

__all__ = ["Change", "changes", "snapshot"]


class Change(NamedTuple):
    """Paths relative to the root of the tree."""

    altered: list[str]  # changed or gone
    added: list[str]


def snapshot(root: Path) -> dict[str, str]:
    """Every path below `root` with its kind and content hash; links are not followed."""
    return {
        os.path.relpath(path, root): _describe(Path(path))
        for folder, directories, files in os.walk(root)
        for path in (f"{folder}/{name}" for name in [*directories, *files])
    }


def changes(
    before: dict[str, str], after: dict[str, str], *, altering: Sequence[str] = (), adding: Sequence[str] = ()
) -> Change:
    """What is different, other than at or below the paths allowed."""
    altered = [path for path, entry in before.items() if after.get(path) != entry]
    return Change(
        [path for path in altered if not _below(path, altering)],
        [path for path in after if path not in before and not _below(path, [*altering, *adding])],
    )


def _below(path: str, allowed: Sequence[str]) -> bool:
    return any(path == each or path.startswith(f"{each}/") for each in allowed)


def _describe(path: Path) -> str:
    status = path.lstat()
    if stat.S_ISREG(status.st_mode):
        return f"file {status.st_mode:o} {hashlib.sha256(path.read_bytes()).hexdigest()}"
    if stat.S_ISLNK(status.st_mode):
        return f"link {path.readlink()}"
    return f"other {status.st_mode:o}"
