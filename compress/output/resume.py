"""Finished layers on disk, so that an interrupted run goes on where it stopped.

A work directory is recognised by its marker and by nothing else: a directory without one is somebody's own
and is neither used nor removed. Its content belongs to one identity, a hash of everything that decides the
result. Each item is one safetensors file, written to a temporary name and renamed, with its JSON record and a
hash of both in the metadata. An item that is damaged in any way is as good as none: it is computed anew.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor

from ...errors import ModelError, OutputError
from ...foreign import reading
from ...json_files import parse_json
from ...locks import acquire
from .landing import NOTE

__all__ = ["WorkDirectory", "hash_of_item", "work_path", "writing"]

_MARKER, _LOCK = "dotresize-work.json", "lock"
_FORMAT = 3


@contextmanager
def writing(file: Path) -> Iterator[None]:
    """Turn what the system says while the block writes a file into an error that names it.

    Raises:
        OutputError: the disk is full or not writable.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:  # a full disk is either, depending on who wrote
        raise OutputError(
            f"{file} cannot be written: {error}. Free some space and run again to resume."
        ) from error


def work_path(output: Path) -> Path:
    """Where the finished layers of a run that writes `output` are kept: beside it, hidden."""
    return output.with_name(f".{output.name}.dotresize-work")


class WorkDirectory:
    """Stores named sets of tensors, or nothing at all when it has no path.

    Locked from `__init__` until the `with` block ends, which is after the output has been written: `discard`
    is called when nothing can be lost any more.
    """

    def __init__(self, path: Path | None) -> None:
        """Open or start a work directory.

        Args:
            path: the directory, or None to keep nothing.

        Raises:
            OutputError: another run uses it, it is not a work directory, or cannot be written.
        """
        self.path: Path | None = path
        self._lock: int | None = None
        if path is None:
            return
        try:
            _check_ours(path)
            path.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(path)
        except OSError as error:
            raise OutputError(f"{path} cannot be used to keep intermediate results: {error}.") from error

    def __enter__(self) -> "WorkDirectory":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.path is not None and not _can_resume(self.path):
            self.discard()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def begin(self, identity: str) -> None:
        """Say what the run is; items of another identity are removed.

        Raises:
            OutputError: the directory cannot be written.
        """
        if self.path is None:
            return
        try:
            if _identity_in(self.path) != identity:
                for stale in _items(self.path):
                    stale.unlink()
            marker = {"dotresize_work": _FORMAT, "identity": identity}
            temporary = self.path / f"{_MARKER}.tmp"
            temporary.write_text(json.dumps(marker), encoding="utf-8")
            temporary.rename(self.path / _MARKER)
        except OSError as error:
            raise OutputError(f"{self.path} cannot be used to keep intermediate results: {error}.") from error

    def load(self, name: str) -> tuple[dict[str, Tensor], Any] | None:
        """Tensors and record of a finished item, or None when it is not there or not what was stored."""
        if self.path is None or not (file := self.path / f"{name}.safetensors").is_file():
            return None
        try:
            with reading(file, ModelError):
                content = file.read_bytes()
                size = int.from_bytes(content[:8], "little")
                metadata = parse_json(content[8 : 8 + size].decode(), str(file), ModelError)["__metadata__"]
                record, kept = str(metadata["record"]), str(metadata["sha256"])
                tensors = load(content)
                if hash_of_item(name, tensors, record) != kept:
                    return None
                return tensors, json.loads(record)
        except ModelError:
            return None

    def store(self, name: str, tensors: dict[str, Tensor], record: Any) -> None:
        """Keep a finished item.

        Raises:
            OutputError: the disk is full or not writable.
        """
        if self.path is None:
            return
        file = self.path / f"{name}.safetensors"
        temporary = file.with_suffix(".tmp")
        contiguous = {key: value.contiguous() for key, value in tensors.items()}
        text = json.dumps(record)
        metadata = {"record": text, "sha256": hash_of_item(name, contiguous, text)}
        try:
            with writing(file):
                save_file(contiguous, temporary, metadata=metadata)
                temporary.rename(file)
        except OutputError:
            temporary.unlink(missing_ok=True)
            raise

    def discard(self) -> None:
        """Remove what this class wrote, and keep nothing from now on.

        Files of others stay, and the directory with them.
        """
        if self.path is None:
            return
        # the note goes last: until then the same command knows that it had finished
        names = (f"{NOTE}.tmp", f"{_MARKER}.tmp", _MARKER, _LOCK, NOTE)
        ours = [*_items(self.path), *(self.path / name for name in names)]
        try:
            for file in ours:
                file.unlink(missing_ok=True)
            self.path.rmdir()
        except OSError:
            pass  # not empty, or gone: nothing depends on it
        self.path = None


def _items(path: Path) -> list[Path]:
    """Finished items and unfinished ones, shards with their journals, and streams."""
    names = (
        "basis",
        "fisher",
        "embeddings",
        "head",
        "layer-[0-9]*",
        "steps",
        "model",
        "model-[0-9]*-of-[0-9]*",
    )
    suffixes = ("safetensors", "json", "stream", "tmp")
    return [
        file
        for name in (*names, "stream-*")
        for suffix in suffixes
        for file in path.glob(f"{name}.{suffix}")
        if file.is_file() and not file.is_symlink()
    ]


def _can_resume(path: Path) -> bool:
    """Whether anything is kept that takes long: embeddings alone, or room for a shard, are nothing."""
    names, suffixes = ("basis", "fisher", "steps", "layer-[0-9]*", "head"), ("safetensors", "json")
    return any(any(path.glob(f"{name}.{suffix}")) for name in names for suffix in suffixes)


def _check_ours(path: Path) -> None:
    """Refuse what carries no marker of ours; our lock or note alone is what a killed run leaves."""
    if not os.path.lexists(path):
        return
    ours = not path.is_symlink() and path.is_dir()
    if ours and _marker_of(path) is None:
        left = {entry.name for entry in path.iterdir()}
        ours = left <= {_LOCK, NOTE, f"{_MARKER}.tmp"} and not any((path / name).is_dir() for name in left)
    if not ours:
        raise OutputError(
            f"{path} is not a work directory of dotresize (it has no {_MARKER}), but intermediate results "
            "would be kept there; rename it, or choose another output"
        )


def _marker_of(path: Path) -> dict[str, Any] | None:
    marker = path / _MARKER
    if marker.is_symlink() or not marker.is_file() or marker.stat().st_size > 4096:
        return None
    try:
        content = parse_json(marker.read_bytes().decode("utf-8", "replace"), str(marker), OutputError)
    except OutputError:
        return {}  # the name is ours, the content is damaged: nothing in there can be trusted
    return content if isinstance(content, dict) else {}


def _identity_in(path: Path) -> str | None:
    marker = _marker_of(path) or {}
    identity = marker.get("identity")
    return identity if marker.get("dotresize_work") == _FORMAT and isinstance(identity, str) else None


def _lock(path: Path) -> int:
    """The lock of a directory that is still there: its last owner may have removed it meanwhile."""
    while True:
        path.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = acquire(path / _LOCK, what=str(path))
        except OutputError:
            if path.is_dir():
                raise
            continue
        try:
            if os.path.samestat(os.fstat(descriptor), (path / _LOCK).stat()):
                return descriptor
        except FileNotFoundError:
            pass
        os.close(descriptor)


def hash_of_item(name: str, tensors: dict[str, Tensor], record: str) -> str:
    """Over the item's name, its tensors and its record: a file under another's name is damaged too."""
    import torch

    digest = hashlib.sha256(f"{name}\n{record}\n".encode())
    for key in sorted(tensors):
        tensor = tensors[key]
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
