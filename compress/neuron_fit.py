"""Moves the gate and up rows of a narrow MLP towards what its block has to add (METHOD, neuron fit)."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from .activations import Branch
from .gauss_newton import (
    Neurons,
    add_line_rows,
    add_step_rows,
    directions,
    empty_line_sums,
    empty_step_sums,
    lengths,
    neurons_of,
)
from .job import Job
from .precision import fast_products
from .surgery import replace_linear

__all__ = ["Row", "step_gate_and_up"]

DAMPING = 0.3  # of each Kronecker factor, relative to its mean diagonal
PART = 4  # curvature, lengths and the check look at every fourth batch; the gradients at all


class Row(NamedTuple):
    """A batch of rows."""

    stream: Tensor  # (b, t, k) narrow, before the sublayer
    lacking: Tensor  # (b t, k) what it lacks after it
    weights: Tensor  # (b t,) of each row's squared error


@torch.no_grad()
def step_gate_and_up(job: Job, branch: Branch, rows: Callable[..., Iterator[Row]]) -> tuple[float, float]:
    """Replace gate and up by the result of one Gauss-Newton step, in the dtype that will be stored.

    One pass over all rows gives the direction; passes over a part of the batches give its length and see
    whether the error fell. If it did not, everything stays as it was. The direction needs no more than a few
    digits, so matrix products may use the reduced precision that the processor is fastest at.

    Args:
        job: device and stored dtype.
        branch: the narrow MLP, its writer already fitted.
        rows: gives the batches anew at each call, in float32; every n-th one with `every=n`.

    Returns:
        The relative squared error before and after, on the rows that were checked.
    """
    readers = [branch.core.get_submodule(str(name)) for name in (branch.sublayer.gate, branch.sublayer.up)]
    activation = branch.core.get_submodule(str(branch.sublayer.activation))
    down = branch.core.get_submodule(branch.sublayer.writer).get_parameter("weight")  # (k, m)

    def terms(every: int) -> Iterator[tuple[Tensor, Neurons, Tensor, Tensor]]:
        for stream, lacking, weights in rows(every=every):
            x = branch.norm(stream).flatten(0, -2)
            neurons = neurons_of(readers[0](x), readers[1](x), activation)
            yield x, neurons, lacking - neurons.value @ down.T, weights

    with fast_products():
        sums = empty_step_sums(down.shape[0], down.shape[1], job.device)
        for number, (x, neurons, error, weights) in enumerate(terms(1)):
            add_step_rows(sums, x, neurons, error, weights, down, curvature=number % PART == 0)
        moves = directions(sums, down, DAMPING)
        line = empty_line_sums(job.device)
        for x, neurons, error, weights in terms(PART):
            add_line_rows(line, x, neurons, error, weights, down, moves)
    before = _relative_error(branch, down, rows(every=PART))
    kept = [reader.get_parameter("weight").data for reader in readers]
    for reader, move, length in zip(readers, moves, lengths(line), strict=True):
        replace_linear(reader, reader.get_parameter("weight") + length * move, None, job.stored_dtype)
    after = _relative_error(branch, down, rows(every=PART))
    if after < before:
        return before, after
    for reader, weight in zip(readers, kept, strict=True):
        reader.get_parameter("weight").data = weight
    return before, before


def _relative_error(branch: Branch, down: Tensor, rows: Iterator[Row]) -> float:
    """Weighted squared error of the branch's output, relative to what the rows lack."""
    error = energy = 0.0
    for stream, lacking, weights in rows:
        rest = lacking - (branch.inner(stream) @ down.T).flatten(0, -2)
        error += float((rest.square().sum(-1) * weights).sum())
        energy += float((lacking.square().sum(-1) * weights).sum())
    return error / max(energy, 1e-300)
