"""Moves the gate and up rows of narrow MLPs towards what their block has to add (METHOD, neuron fit)."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from ..maths.gauss_newton import (
    Neurons,
    add_line_rows,
    add_step_rows,
    directions,
    empty_line_sums,
    empty_step_sums,
    lengths,
    neurons_of,
)
from ..maths.precision import fast_products
from ..streams.activations import Branch, Inner
from .job import Job

__all__ = ["Row", "shared_rest", "step_gate_and_up"]

DAMPING = 0.3  # of each Kronecker factor, relative to its mean diagonal
PART = 4  # curvature, lengths and the check look at every fourth batch; the gradients at all


class Row(NamedTuple):
    """A batch of rows."""

    stream: Tensor  # (b, t, k) narrow, before the sublayer
    lacking: Tensor  # (b t, k) what the writers are to give, multiplier and gain included
    weights: Tensor  # (b t,) of each row's squared error
    number: int  # of the batch among those of all processes


class _Term(NamedTuple):
    """The rows of a batch that one MLP sees."""

    expert: int
    x: Tensor  # (n, k) what its gate and up read
    neurons: Neurons
    error: Tensor  # (n, k)
    weights: Tensor  # (n,)


@torch.no_grad()
def step_gate_and_up(job: Job, branch: Branch, rows: Callable[..., Iterator[Row]]) -> tuple[float, float]:
    """Replace gate and up by the result of one Gauss-Newton step, in the dtype that will be stored.

    One pass over all rows gives the direction; passes over a part of the batches give its length and see
    whether the error fell. If it did not, everything stays as it was. The direction needs no more than a few
    digits, so matrix products may use the reduced precision that the processor is fastest at. Of several
    experts each steps towards what all of them together lack.

    Args:
        job: device and stored dtype.
        branch: the narrow MLP, its writers already fitted.
        rows: gives the batches anew at each call, in float32; every n-th one with `every=n`.

    Returns:
        The relative squared error before and after, on the rows that were checked.
    """
    sites = [site for role in ("gate", "up") if (site := branch.sublayer.site(role)) is not None]
    downs = [branch.sites.writer(expert).weight.float() for expert in branch.sites.experts]  # (k, m)
    hidden, inner = downs[0].shape
    with fast_products():
        sums = [empty_step_sums(hidden, inner, job.device, len(sites)) for _ in downs]
        for row in rows(every=1):
            for expert, x, neurons, error, weights in _terms(branch, row, downs):
                curvature = row.number % PART == 0
                add_step_rows(sums[expert], x, neurons, error, weights, downs[expert], curvature=curvature)
        moves = []
        for one, down in zip(sums, downs, strict=True):
            job.ranks.summed(one.inputs, *one.gradients, *one.curvatures)
            solve = partial(directions, one, down, DAMPING)
            moves.append(tuple(job.ranks.solved(solve, like=one.gradients)))
        lines = [empty_line_sums(job.device, len(sites)) for _ in downs]
        for row in rows(every=PART):
            for expert, x, neurons, error, weights in _terms(branch, row, downs):
                add_line_rows(lines[expert], x, neurons, error, weights, downs[expert], moves[expert])
        for line in lines:
            job.ranks.summed(*line)
    before = _relative_error(job, branch, rows(every=PART), downs)
    kept = [[branch.sites.read(site, expert) for site in sites] for expert in branch.sites.experts]
    kept = [[matrix._replace(weight=matrix.weight.clone()) for matrix in expert] for expert in kept]
    for expert, line in enumerate(lines):
        for site, old, move, length in zip(sites, kept[expert], moves[expert], lengths(line), strict=True):
            moved = old._replace(weight=old.weight + length * move)
            branch.sites.write(site, moved, job.stored_dtype, expert)
    after = _relative_error(job, branch, rows(every=PART), downs)
    if after < before:
        return before, after
    for expert, matrices in enumerate(kept):
        for site, matrix in zip(sites, matrices, strict=True):
            branch.sites.write(site, matrix, torch.float32, expert)
    return before, before


def shared_rest(inner: list[Inner], lacking: Tensor, writers: list[Tensor]) -> Tensor:
    """What the experts together still lack, for each of them to correct in proportion to its share.

    Args:
        inner: what the writers read.
        lacking: (b t, k) what all of them together are to give.
        writers: (k, i) of each expert, in the dtype of the rows.
    """
    given, total = torch.zeros_like(lacking), lacking.new_zeros(len(lacking), 1)
    for (expert, rows, share), value in inner:
        out = value.to(writers[expert].dtype) @ writers[expert].T
        if rows is None or share is None:
            return lacking - out
        given.index_add_(0, rows, out * share)
        total.index_add_(0, rows, share)
    return (lacking - given) / total.clamp_min(1e-6)


def _terms(branch: Branch, row: Row, downs: list[Tensor]) -> Iterator[_Term]:
    z = branch.normed(row.stream).flatten(0, -2)
    terms, inner = [], []
    for routed in branch.routes(z):
        x = routed.of(z)
        neurons = neurons_of(*branch.before_activation(x, routed.expert), branch.activation)
        inner.append(Inner(routed, neurons.value))
        weights = routed.of(row.weights)
        terms.append((x, neurons, weights if routed.share is None else weights * routed.share[:, 0]))
    rest = shared_rest(inner, row.lacking, downs)
    for (routed, _), (x, neurons, weights) in zip(inner, terms, strict=True):
        yield _Term(routed.expert, x, neurons, routed.of(rest), weights)


def _relative_error(job: Job, branch: Branch, rows: Iterator[Row], downs: list[Tensor]) -> float:
    """Weighted squared error of the branch's output, relative to what the rows lack."""
    error = energy = 0.0
    for stream, lacking, weights, _ in rows:
        given = torch.zeros_like(lacking)
        for (expert, which, share), value in branch.inner(stream):
            out = value.to(downs[expert].dtype) @ downs[expert].T
            if which is None or share is None:
                given = out
            else:
                given.index_add_(0, which, out * share)
        error += float(((lacking - given).square().sum(-1) * weights).sum())
        energy += float((lacking.square().sum(-1) * weights).sum())
    error, energy = job.ranks.totals(error, energy)
    return error / max(energy, 1e-300)
