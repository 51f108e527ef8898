"""Residual streams: in memory, or in mapped files where they would take too much of it.

Shapes: w windows of t tokens, d hidden size.
"""

import mmap
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ...errors import OutputError
from .activations import batches

__all__ = ["Stream", "StreamRoom"]


class Stream:
    """Hidden states (w, t, d), float32 or float64; batches of windows are read and added to.

    Attributes:
        values: (w, t, d) on the CPU as they are kept, which may be in fewer bits than they are read in.
        dtype: that they are read in.
    """

    def __init__(
        self, values: Tensor, mapped: "mmap.mmap | None" = None, *, dtype: torch.dtype | None = None
    ) -> None:
        """Hold values.

        Args:
            values: (w, t, d) on the CPU.
            mapped: the file that they lie in, None in memory.
            dtype: to read them in; None for the one that they have.
        """
        self.values, self._mapped, self.dtype = values, mapped, dtype or values.dtype

    def __len__(self) -> int:
        """Windows."""
        return len(self.values)

    @property
    def shape(self) -> torch.Size:
        """(w, t, d)."""
        return self.values.shape

    def __getitem__(self, batch: slice) -> Tensor:
        """Windows (b, t, d): a view of what is in memory as it is read, a copy of everything else."""
        if self._mapped is None:
            return self.values[batch].to(self.dtype)
        found = self.values[batch].to(self.dtype, copy=True)
        self._let_go(batch)
        return found

    def add(self, batch: slice, change: Tensor) -> None:
        """Add to windows; the sum is rounded once, to what is kept."""
        self.values[batch] += change
        self._let_go(batch)

    def put(self, batch: slice, values: Tensor) -> None:
        """Replace windows."""
        self.values[batch] = values
        self._let_go(batch)

    def _let_go(self, batch: slice) -> None:
        """Unmap the pages of some windows: the file keeps them, the process does not."""
        if self._mapped is None:
            return
        window_bytes = self.values[0].numel() * self.values.element_size()
        start = batch.start * window_bytes // mmap.PAGESIZE * mmap.PAGESIZE
        end = min(batch.stop, len(self)) * window_bytes
        self._mapped.madvise(mmap.MADV_DONTNEED, start, end - start)


@dataclass(frozen=True, kw_only=True)
class StreamRoom:
    """Where streams are put.

    Attributes:
        directory: for files, which have no name there and are gone when the process is; None keeps streams in
            memory.
        memory_bytes: what one stream may take of it.
        dtype: that single-precision values are kept in.
    """

    directory: Path | None = None
    memory_bytes: int = 0
    dtype: torch.dtype = torch.float32

    def empty(self, windows: int, tokens: int, width: int, dtype: torch.dtype) -> Stream:
        """A stream (w, t, d) without values, to be read in a dtype.

        Raises:
            OutputError: the disk is full or not writable.
        """
        kept = self.dtype if dtype == torch.float32 else dtype
        size_bytes = windows * tokens * width * kept.itemsize
        if self.directory is None or size_bytes <= self.memory_bytes:
            return Stream(torch.empty(windows, tokens, width, dtype=kept), dtype=dtype)
        try:
            with tempfile.TemporaryFile(dir=self.directory) as file:
                os.posix_fallocate(file.fileno(), 0, size_bytes)  # a full disk must not be noticed later
                mapped = mmap.mmap(file.fileno(), size_bytes)
        except OSError as error:
            raise OutputError(
                f"{self.directory} cannot hold a residual stream of {size_bytes / 1e9:,.2f} GB: {error}. "
                "Free some space and run again, or give more --stream-memory."
            ) from error
        values = torch.frombuffer(mapped, dtype=kept).view(windows, tokens, width)
        return Stream(values, mapped, dtype=dtype)

    def filled(self, windows: int, tokens: int, make: Callable[[slice], Tensor]) -> Stream:
        """A stream of what `make` gives for each batch of windows, (b, t, d) on the CPU."""
        stream: Stream | None = None
        for batch in batches(windows, tokens):
            values = make(batch)
            if stream is None:
                stream = self.empty(windows, tokens, values.shape[-1], values.dtype)
            stream.put(batch, values)
        assert stream is not None
        return stream

    def copy(self, stream: Stream) -> Stream:
        """Another one with the same values."""
        windows, tokens, _ = stream.shape
        return self.filled(windows, tokens, lambda batch: stream[batch])
