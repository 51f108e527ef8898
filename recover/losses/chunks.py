"""Losses on logits of which only a few positions are in memory at a time.

The gradient is computed in the forward pass, chunk by chunk, while the logits are there: no head is applied
twice, and no logits are kept for the backward pass, which only scales what was found.

Shapes: n positions, v vocabulary, d teacher and s student hidden size.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from .loss import forward_kl_and_gradient

__all__ = ["CHUNK", "Head", "block_elements", "by_autograd", "chunked_forward_kl", "chunked_mean"]

CHUNK = 512  # positions; fewer make the products small, more only take memory


def block_elements(device: str) -> int:
    """Positions x vocabulary of the elementwise work at once: what stays in a CPU's cache, or fills a GPU."""
    return 2**21 if device == "cpu" else 2**24


class Head(NamedTuple):
    """What gives logits from hidden states."""

    logits: Callable[[Tensor], Tensor]  # (n, width) -> (n, v)
    parameters: tuple[Tensor, ...] = ()  # that it uses and that may be trained


class Slope(NamedTuple):
    """A sum over positions, and how it changes with the logits."""

    total: Tensor  # () float32
    gradient: Tensor | None  # (n, v); None where it is not wanted


# rows [start, stop) of the positions, their logits (which it may overwrite), whether the gradient is wanted
Measure = Callable[[int, int, Tensor, bool], Slope]


@dataclass(frozen=True)
class _Work:
    head: Head
    measure: Measure
    chunk: int


class _Mean(torch.autograd.Function):
    """Mean over positions of what `measure` gives, with its gradient found in the forward pass."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, work: _Work, *parameters: Tensor) -> Tensor:
        wanted = [index for index, needed in enumerate(ctx.needs_input_grad[2:]) if needed]
        trained = [parameters[index] for index in wanted]
        hidden_too = ctx.needs_input_grad[0]
        sums = [torch.zeros_like(each, dtype=torch.float32) for each in trained]
        slopes = torch.empty_like(hidden) if hidden_too else None
        total = torch.zeros((), device=hidden.device)
        for start in range(0, len(hidden), work.chunk):
            rows = hidden[start : start + work.chunk].detach().requires_grad_(hidden_too)
            learn = bool(trained) or hidden_too
            with torch.set_grad_enabled(learn):
                logits = work.head.logits(rows)
            found = work.measure(start, start + len(rows), logits.detach(), learn)
            total += found.total
            if not learn:
                continue
            asked = [rows, *trained] if hidden_too else trained
            grown = list(torch.autograd.grad(logits, asked, found.gradient))
            if slopes is not None:
                slopes[start : start + len(rows)] = grown.pop(0)
            for kept, new in zip(sums, grown, strict=True):
                kept += new
        ctx.count, ctx.wanted, ctx.parameters = len(hidden), wanted, len(parameters)
        ctx.save_for_backward(*([slopes] if slopes is not None else []), *sums)
        ctx.hidden_too = hidden_too
        return total / len(hidden)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        kept = [each * (upstream / ctx.count) for each in ctx.saved_tensors]
        hidden = kept.pop(0) if ctx.hidden_too else None
        parameters: list[Tensor | None] = [None] * ctx.parameters
        for index, slope in zip(ctx.wanted, kept, strict=True):
            parameters[index] = slope
        return hidden, None, *parameters


def chunked_mean(hidden: Tensor, head: Head, measure: Measure, *, chunk: int = CHUNK) -> Tensor:
    """Mean over positions of a loss of the logits, () float32; gradients reach `hidden` and the head.

    Args:
        hidden: (n, s) what the head reads.
        head: gives logits.
        measure: the loss of some positions and its gradient.
        chunk: positions whose logits are in memory at a time.
    """
    work = _Work(head, measure, chunk)
    found: Tensor = _Mean.apply(hidden, work, *head.parameters)  # type: ignore[no-untyped-call]
    return found


def chunked_forward_kl(
    teacher_hidden: Tensor,
    teacher_head: Head,
    student_hidden: Tensor,
    student_head: Head,
    *,
    temperature: float = 1.0,
    chunk: int = CHUNK,
) -> Tensor:
    """Mean of `forward_kl` over all positions, () float32.

    Args:
        teacher_hidden: (n, d) what the teacher's head reads; no gradient flows into it.
        teacher_head: gives the teacher's logits.
        student_hidden: (n, s) what the student's head reads.
        student_head: gives the student's logits.
        temperature: see `forward_kl`.
        chunk: positions.
    """

    def measure(start: int, stop: int, logits: Tensor, learn: bool) -> Slope:
        with torch.no_grad():
            target = teacher_head.logits(teacher_hidden[start:stop])
            total = torch.zeros((), device=logits.device)
            rows = max(1, block_elements(logits.device.type) // logits.shape[-1])
            for expected, found in zip(target.split(rows), logits.split(rows), strict=True):
                values, gradient = forward_kl_and_gradient(expected, found, temperature, learn=learn)
                total += values.sum()
                if gradient is not None:
                    found.copy_(gradient)  # the logits of these positions are not needed any more
            return Slope(total, logits if learn else None)

    return chunked_mean(student_hidden, student_head, measure, chunk=chunk)


def by_autograd(loss: Callable[[int, int, Tensor], Tensor]) -> Measure:
    """A measure from a differentiable loss: rows [start, stop) and their logits -> one value per position."""

    def measure(start: int, stop: int, logits: Tensor, learn: bool) -> Slope:
        with torch.set_grad_enabled(learn):
            leaf = logits.detach().requires_grad_(learn)
            total = loss(start, stop, leaf).sum()
        gradient = torch.autograd.grad(total, leaf)[0] if learn else None
        return Slope(total.detach(), gradient)

    return measure
