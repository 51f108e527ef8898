"""Processes that narrow one model together, started by torchrun: each owns some of the calibration windows.

Sums over windows are added up over all processes. What is solved from them is solved by the first one, which
alone writes, and sent to the others. For a process that is alone all of this does nothing.

The batches of windows are those of a process that is alone, so that only the order of sums differs.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor

from ...errors import OptionError
from .activations import batches
from .launcher import launched_processes, together

__all__ = ["Item", "Ranks", "joined"]

Item = tuple[dict[str, Tensor], Any] | None  # tensors with a record that goes to JSON

_LONGEST_WAIT = timedelta(days=7)  # the first process may be writing text; torchrun notices who dies


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """This process among all that narrow the same model."""

    number: int = 0
    count: int = 1
    number_here: int = 0  # on this machine
    count_here: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this one solves and writes."""
        return self.number == 0

    def wait(self) -> None:
        """Until all are here."""
        self.summed(torch.zeros(1))

    def owned(self, windows: int, tokens: int) -> slice:
        """Which of some windows (w, t) are this process's: whole batches that follow each other."""
        if self.count == 1:
            return slice(0, windows)
        all_of_them = list(batches(windows, tokens))
        start, stop = (len(all_of_them) * number // self.count for number in (self.number, self.number + 1))
        mine = all_of_them[start:stop]
        return slice(mine[0].start, mine[-1].stop) if mine else slice(windows, windows)

    def check(self, windows: int, tokens: int) -> None:
        """Refuse fewer batches of windows (w, t) than processes.

        Raises:
            OptionError: one would have nothing to do.
        """
        count = len(list(batches(windows, tokens)))
        if count < self.count:
            raise OptionError(
                f"{self.count} processes were started, but {windows} windows of {tokens} tokens are {count} "
                "batches; start fewer, or give more --calibration-windows."
            )

    def summed(self, *tensors: Tensor) -> None:
        """Add up over all processes, in place; contiguous tensors."""
        if self.count > 1:
            with together():
                for tensor in tensors:
                    torch.distributed.all_reduce(tensor)

    def totals(self, *values: float) -> list[float]:
        """Numbers added up over all processes."""
        found = torch.tensor(values, dtype=torch.float64)
        self.summed(found)
        return [float(value) for value in found]

    def solved(self, solve: Callable[[], Sequence[Tensor]], like: Iterable[Tensor]) -> Sequence[Tensor]:
        """What the first process makes of sums that all have.

        Args:
            solve: makes it.
            like: a tensor of shape, dtype and device of each result.
        """
        if self.count == 1:
            return solve()
        if self.is_first:
            found = [tensor.contiguous() for tensor in solve()]
        else:
            found = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for tensor in like]
        self.taken_over(found)
        return found

    def taken_over(self, tensors: Iterable[Tensor]) -> None:
        """Replace values by the first process's, in place; contiguous tensors."""
        if self.count > 1:
            with together():
                for tensor in tensors:
                    torch.distributed.broadcast(tensor, src=0)

    def item(self, item: Item) -> Item:
        """The first process's; tensors on the CPU."""
        if self.count == 1:
            return item
        header = b""
        if self.is_first:
            shapes = [] if item is None else [_kind(name, tensor) for name, tensor in item[0].items()]
            header = json.dumps(None if item is None else [item[1], shapes]).encode()
        length = torch.tensor(len(header))
        self.taken_over([length])
        text = torch.frombuffer(bytearray(header), dtype=torch.uint8) if header else _bytes(int(length))
        self.taken_over([text])
        content = json.loads(text.numpy().tobytes())
        if content is None:
            return None
        record, kinds = content
        tensors = {} if item is None else item[0]
        if not self.is_first:
            tensors = {name: torch.empty(shape, dtype=getattr(torch, kind)) for name, kind, shape in kinds}
        self.taken_over(tensor.contiguous().reshape(-1).view(torch.uint8) for tensor in tensors.values())
        return tensors, record


@contextmanager
def joined(device: torch.device) -> Iterator[Ranks]:
    """Join the processes that torchrun started, for as long as the block lasts.

    Args:
        device: of the run; on CUDA each process takes the GPU of its number on its machine.

    Raises:
        OptionError: there are fewer GPUs than processes, or the launcher left out what torchrun sets.
        EngineError: the others cannot be reached.
    """
    if launched_processes() == 1:
        yield Ranks()
        return
    try:
        number, count, local, here = (
            int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
        )
    except (KeyError, ValueError) as error:
        raise OptionError(
            f"WORLD_SIZE is set, but {error} is not what a launcher sets; start several processes with "
            "torchrun --nproc-per-node N -m dotresize compress, or unset WORLD_SIZE."
        ) from error
    backend = "gloo"
    if device.type == "cuda":
        if here > torch.cuda.device_count():
            raise OptionError(
                f"{here} processes were started on a machine with {torch.cuda.device_count()} GPUs; start "
                "one for each, or use --device cpu."
            )
        torch.cuda.set_device(local)
        backend = "cpu:gloo,cuda:nccl"
    with together():
        torch.distributed.init_process_group(backend, timeout=_LONGEST_WAIT)
    try:
        yield Ranks(number=number, count=count, number_here=local, count_here=here)
    finally:
        torch.distributed.destroy_process_group()


def _kind(name: str, tensor: Tensor) -> tuple[str, str, list[int]]:
    return name, str(tensor.dtype).removeprefix("torch."), list(tensor.shape)


def _bytes(count: int) -> Tensor:
    return torch.empty(count, dtype=torch.uint8)
