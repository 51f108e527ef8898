"""Moves the dense and the narrow stream through one sublayer."""

from collections.abc import Callable

from torch import Tensor

from ..streams.activations import Branch, Inner
from .job import Job, Streams

__all__ = ["advance_dense", "advance_narrow"]


def advance_dense(
    job: Job,
    branch: Branch,
    streams: Streams,
    *,
    seen: Callable[[Tensor, slice, list[Inner]], None] | None = None,
) -> None:
    """Add what a dense branch adds.

    Args:
        job: device and progress.
        branch: of the dense layer.
        streams: the dense one is moved on.
        seen: told the dense batch (b, t, d) before it moves, which windows it is, and what the writers read.
    """
    for batch in streams.slices():
        x = streams.read_dense(batch).to(job.device)
        if seen is None:
            change = branch.forward(x)
        else:
            inner = branch.inner(x)
            seen(x, batch, inner)
            change = branch.output(inner, x)
        streams.dense.add(batch, change.cpu())
        job.progress.advance(len(x))


def advance_narrow(job: Job, branch: Branch, streams: Streams, kept: list[list[Inner]] | None = None) -> None:
    """Add what a narrow branch adds, from what its writers read where that was kept."""
    if streams.narrow is None:
        return
    for number, batch in enumerate(streams.slices()):
        y = streams.read_narrow(batch).to(job.device)
        if kept and number < len(kept):  # of the windows that fits see, which come first
            inner = [entry._replace(value=entry.value.to(job.device)) for entry in kept[number]]
            change = branch.output(inner, y)
        else:
            change = branch.forward(y)
        streams.narrow.add(batch, change.cpu())
        job.progress.advance(len(y))
