"""Finished layers on disk, so that an interrupted run goes on where it stopped.

A work directory belongs to one identity (a hash of everything that decides the result). Each item is
one safetensors file, written to a temporary name and renamed, with its JSON record in the metadata.
"""

import fcntl
import json
import os
import shutil
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..errors import OutputError

__all__ = ["WorkDirectory"]


class WorkDirectory:
    """Stores named sets of tensors, or nothing at all when it has no path. Locked while it is open."""

    def __init__(self, path: Path | None, identity: str) -> None:
        """Open or start a work directory.

        Args:
            path: the directory, or None to keep nothing.
            identity: content of another identity is discarded.
        """
        self.path: Path | None = path
        self._lock: int | None = None
        if path is None:
            return
        marker = path / "identity"
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(path)
            if not (marker.is_file() and marker.read_text() == identity):
                for stale in path.glob("*.safetensors"):
                    stale.unlink()
            marker.write_text(identity)
        except OSError as error:
            raise OutputError(f"{path} cannot be used to keep intermediate results: {error}.") from error

    def __enter__(self) -> "WorkDirectory":
        return self

    def __exit__(self, *_: object) -> None:
        if self.path is not None and not any(self.path.glob("*.safetensors")):
            self.discard()  # nothing to resume from
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def load(self, name: str) -> tuple[dict[str, Tensor], Any] | None:
        """Tensors and record of a finished item, or None."""
        if self.path is None or not (file := self.path / f"{name}.safetensors").is_file():
            return None
        with safe_open(file, framework="pt") as handle:
            tensors = {key: handle.get_tensor(key) for key in handle.keys()}  # noqa: SIM118
            return tensors, json.loads(handle.metadata()["record"])

    def store(self, name: str, tensors: dict[str, Tensor], record: Any) -> None:
        """Keep a finished item.

        Raises:
            OutputError: the disk is full or not writable.
        """
        if self.path is None:
            return
        file = self.path / f"{name}.safetensors"
        temporary = file.with_suffix(".tmp")
        try:
            save_file(
                {key: value.contiguous() for key, value in tensors.items()},
                temporary,
                metadata={"record": json.dumps(record)},
            )
            temporary.rename(file)
        except (OSError, SafetensorError) as error:  # a full disk is either, depending on who wrote
            temporary.unlink(missing_ok=True)
            raise OutputError(
                f"{file} cannot be written: {error}. Free some space and run again to resume."
            ) from error

    def discard(self) -> None:
        """Remove everything and keep nothing from now on: the next run may take the directory at once."""
        if self.path is not None:
            shutil.rmtree(self.path, ignore_errors=True)
            self.path = None


def _lock(path: Path) -> int:
    """An open descriptor that holds the directory's lock until it is closed or the process ends.

    Raises:
        OutputError: another process holds it.
    """
    descriptor = os.open(path / "lock", os.O_CREAT | os.O_RDWR)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise OutputError(
            f"another run is writing to {path}; wait for it to finish, or choose another output."
        ) from None
    return descriptor
