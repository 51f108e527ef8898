"""Temporaries beside an output: whose they are, and what a killed run left behind.

A temporary is a directory `.NAME.XXXXXXXX.dotresize-tmp` beside NAME:

    owner.json   says that it is ours and for which output; locked as long as its process lives
    new/         what is being written; renamed to NAME
    old/         what NAME was, moved aside just before

The kernel frees the lock when a process ends, however it ends. So a temporary whose owner.json is ours and
not locked is dead: the next run of the same output removes it, after putting back what was moved aside.
"""

import json
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from ...errors import OutputError
from ...json_files import read_json
from ...locks import acquire

__all__ = ["NEW", "OLD", "Staging", "clean"]

OWNER, NEW, OLD = "owner.json", "new", "old"
_SUFFIX = ".dotresize-tmp"
_LARGEST_OWNER_BYTES = 4096
_KEY = "dotresize_staging_for"


class Staging:
    """One temporary, locked by this process until `close`."""

    def __init__(self, target: Path) -> None:
        """Make a temporary beside `target`, whose parents are made too.

        Raises:
            OSError: The place cannot be written.
        """
        self._target = target
        target.parent.mkdir(parents=True, exist_ok=True)
        while True:
            made = tempfile.mkdtemp(prefix=f".{target.name}.", suffix=_SUFFIX, dir=target.parent)
            self.folder = Path(made)
            try:
                self._lock = acquire(self.folder / OWNER, what=str(target))
                break
            except (OSError, OutputError):
                if (
                    self.folder.exists()
                ):  # no room, or no locks here; else a cleaner was faster than this process
                    _remove(self.folder)
                    raise
        self.new = self.folder / NEW
        self.old = self.folder / OLD
        try:
            os.write(self._lock, json.dumps({_KEY: target.name}).encode())
            os.fsync(self._lock)
            self.new.mkdir()
        except OSError:
            _remove(self.folder)
            os.close(self._lock)
            raise

    def close(self) -> None:
        """Remove the temporary; what was moved aside goes back where nothing took its place."""
        _put_back(self.folder, self._target)
        _remove(self.folder)
        os.close(self._lock)


def clean(target: Path) -> None:
    """Remove the temporaries that dead runs of `target` left, and put back what one of them had moved aside.

    Raises:
        OSError: A temporary cannot be read.
    """
    for folder in sorted(target.parent.glob(f".{_escaped(target.name)}.*{_SUFFIX}")):
        if _is_ours(folder, target.name):
            _clean_one(folder, target)


def _is_ours(folder: Path, name: str) -> bool:
    owner = folder / OWNER
    if folder.is_symlink() or not folder.is_dir():
        return False
    if not any(folder.iterdir()):  # killed before it could say whose it is; nobody's file is lost with it
        return True
    if owner.is_symlink() or not owner.is_file():
        return False
    if {entry.name for entry in folder.iterdir()} - {OWNER, NEW, OLD}:
        return False
    if owner.stat().st_size == 0:  # killed before it could write; then there is nothing else either
        return not any((folder / part).exists() for part in (NEW, OLD))
    try:
        content = read_json(owner, OutputError, largest_bytes=_LARGEST_OWNER_BYTES)
    except OutputError:
        return False
    return isinstance(content, dict) and content.get(_KEY) == name


def _clean_one(folder: Path, target: Path) -> None:
    try:
        lock = acquire(folder / OWNER, what=str(target))
    except OutputError:
        return  # its process lives
    try:
        _put_back(folder, target)
        _remove(folder)
    finally:
        os.close(lock)


def _put_back(folder: Path, target: Path) -> None:
    if os.path.lexists(folder / OLD) and not os.path.lexists(target):
        (folder / OLD).rename(target)


def _remove(folder: Path) -> None:
    """Remove a temporary; owner.json last, so that an interrupted removal can be repeated."""
    for part in (folder / NEW, folder / OLD):
        shutil.rmtree(part, ignore_errors=True)
    with suppress(OSError):
        (folder / OWNER).unlink(missing_ok=True)
        folder.rmdir()


def _escaped(name: str) -> str:
    """A name in which a glob reads no wildcards."""
    return "".join(f"[{character}]" if character in "*?[" else character for character in name)
