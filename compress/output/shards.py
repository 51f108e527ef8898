"""The growing output: parts of the narrow model are written into its shards as they are finished.

Shards lie in the work directory at their full size from the beginning, every tensor at its place. A part is
finished when its bytes and then its journal are on the disk; the journal holds its record and a hash of its
tensors. A part that is damaged in any way is as good as none.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...errors import ModelError
from ...foreign import reading
from ...json_files import read_json
from ..weights.file_hash import file_sha256
from .resume import WorkDirectory, hash_of_item, writing
from .shard_layout import Layout, Shard

__all__ = ["ShardWriter"]

_LARGEST_JOURNAL_BYTES = 2**24


class ShardWriter:
    """A sink (`sink.Sink`) that keeps nothing in memory."""

    def __init__(self, work: WorkDirectory, layout: Layout) -> None:
        """Take up what an earlier run has written of these very files.

        Args:
            work: begun with the identity of the run; it has a path.
            layout: of the model.

        Raises:
            OutputError: the directory cannot be written.
        """
        assert work.path is not None
        self.path: Path = work.path
        self.layout = layout
        self.hashes: dict[str, str] = {}  # of the files that are complete
        self._missing = {shard.name: set(shard.places) for shard in layout.shards}
        for shard in layout.shards:
            file = self.path / shard.name
            with writing(file):
                if os.path.lexists(file) and not _is(file, shard):
                    file.unlink()

    def finished(self, part: str) -> tuple[dict[str, Tensor], Any] | None:
        """As `Sink.finished`."""
        journal = self.path / f"{part}.json"
        if journal.is_symlink() or not journal.is_file():
            return None
        try:
            content = read_json(journal, ModelError, largest_bytes=_LARGEST_JOURNAL_BYTES)
            with reading(journal, ModelError):
                kept, names = str(content["sha256"]), [str(name) for name in content["tensors"]]
                tensors = {name: self._read(name) for name in names}
                record = content["record"]
            if hash_of_item(part, tensors, json.dumps(record)) != kept:
                return None
        except ModelError:
            return None
        self._complete(names)
        return tensors, record

    def add(self, part: str, tensors: dict[str, Tensor], record: Any) -> None:
        """As `Sink.add`.

        Raises:
            ModelError: the model has no such tensor, or it has another shape.
            OutputError: the disk is full or not writable; what was finished before stays.
        """
        by_shard: dict[str, list[str]] = {}
        for name, tensor in tensors.items():
            by_shard.setdefault(self._shard_for(name, tensor).name, []).append(name)
        for shard in self.layout.shards:
            if names := by_shard.get(shard.name):
                with writing(self.path / shard.name):
                    self._write(shard, {name: tensors[name] for name in names})
        sha256 = hash_of_item(part, tensors, json.dumps(record))
        journal = self.path / f"{part}.json"
        content = {"sha256": sha256, "tensors": list(tensors), "record": record}
        with writing(journal):
            temporary = journal.with_suffix(".tmp")
            with temporary.open("w", encoding="utf-8") as stream:
                stream.write(json.dumps(content))
                stream.flush()
                os.fsync(stream.fileno())
            temporary.rename(journal)
        self._complete(list(tensors))

    @property
    def files(self) -> list[Path]:
        """The shards.

        Raises:
            ModelError: a tensor has not been written.
        """
        if missing := sorted(set().union(*self._missing.values())):
            raise ModelError(
                f"the narrow model lacks {', '.join(missing[:3])}; this model differs from its "
                "family's usual form."
            )
        return [self.path / shard.name for shard in self.layout.shards]

    def _shard_for(self, name: str, tensor: Tensor) -> Shard:
        try:
            shard = self.layout.shard_of(name)
        except KeyError as error:
            raise ModelError(
                f"the narrow model has no place for {name}; this model differs from its family's usual form."
            ) from error
        shape = shard.places[name].shape
        if tuple(tensor.shape) != shape or tensor.dtype != self.layout.dtype:
            raise ModelError(
                f"{name} is {tensor.dtype} {list(tensor.shape)}, expected {self.layout.dtype} {list(shape)}; "
                "this model differs from its family's usual form."
            )
        return shard

    def _write(self, shard: Shard, tensors: dict[str, Tensor]) -> None:
        """Put tensors into their places, and flush them to the disk."""
        file = self.path / shard.name
        if file.is_file() and file.stat().st_nlink > 1:  # an output that was put into place shares it
            apart = file.with_suffix(".tmp")
            shutil.copyfile(file, apart)
            apart.rename(file)
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            if os.fstat(descriptor).st_size != shard.size_bytes:
                os.truncate(descriptor, shard.size_bytes)
                _write_at(descriptor, shard.header, 0)
            for name, tensor in tensors.items():
                data = tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data
                _write_at(descriptor, data, shard.places[name].start)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _read(self, name: str) -> Tensor:
        """One tensor, in memory of its own."""
        shard = self.layout.shard_of(name)
        place = shard.places[name]
        data = bytearray(place.size_bytes)
        with (self.path / shard.name).open("rb") as stream:
            stream.seek(place.start)
            if stream.readinto(data) != len(data):
                raise ModelError(f"{self.path / shard.name} is too short; it is written anew")
        return torch.frombuffer(data, dtype=self.layout.dtype).reshape(place.shape)

    def _complete(self, names: list[str]) -> None:
        """Cross tensors off; a file is hashed when its last one is there, while it is still in memory."""
        for shard in self.layout.shards:
            missing = self._missing[shard.name]
            missing.difference_update(names)
            if not missing and shard.name not in self.hashes:
                with writing(self.path / shard.name):
                    self.hashes[shard.name] = file_sha256(self.path / shard.name)


def _is(file: Path, shard: Shard) -> bool:
    """Whether a file has the size and the header of a shard."""
    if file.is_symlink() or not file.is_file() or file.stat().st_size != shard.size_bytes:
        return False
    with file.open("rb") as stream:
        return stream.read(len(shard.header)) == shard.header


def _write_at(descriptor: int, data: bytes | memoryview, start: int) -> None:
    """All of it, wherever the system stops in between."""
    rest = memoryview(data)
    while rest:
        written = os.pwrite(descriptor, rest, start)
        rest, start = rest[written:], start + written
