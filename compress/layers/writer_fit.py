"""What each sublayer of the narrow model adds to its stream (METHOD, writer fit).

Shapes: k new hidden size; i inner size; b windows of t tokens in a batch; n of them seen by one expert.
"""

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from ..families.canonical import Matrix
from ..maths.fit import Sums, add_rows, empty_sums, relative_error, ridge_solve
from ..maths.fold import fold_writer, fold_writer_bias
from ..maths.guards import check_finite
from ..maths.precision import fast_products
from ..record.report import BlockFit
from ..streams.activations import Branch, Inner
from .job import Job, Streams, keeps_inner
from .neuron_fit import Row, shared_rest, step_gate_and_up
from .rounded_sites import round_writer
from .units import Chosen, take_columns

__all__ = ["fit_writer", "set_writer"]


class _Expert(NamedTuple):
    """The regression of one writer; a sublayer without experts has one."""

    sums: Sums
    tokens: int  # rows that were added


def set_writer(job: Job, dense: Branch, narrow: Branch, chosen: Chosen) -> None:
    """Set the writers of a narrow branch without a fit; those that `fit_writer` will replace in float32."""
    for number, expert in enumerate(chosen.experts):
        weight, bias = dense.sites.writer(expert)
        weight = take_columns(weight, dense.sublayer.writer, chosen.units.get(expert), job.plan.dense)
        if job.project is not None:
            weight = fold_writer(weight, job.project)  # (k, i)
            bias = None if bias is None else fold_writer_bias(bias, job.project)
        dtype = torch.float32 if job.fits_writer else job.stored_dtype
        narrow.sites.set_writer(Matrix(weight, bias), dtype, number)


def fit_writer(
    job: Job, narrow: Branch, streams: Streams, index: int, kept: list[list[Inner]]
) -> list[BlockFit]:
    """Fit the writers of a branch that holds the unfitted ones; an MLP's gate and up are fitted on the way.

    What the writers read is left in `kept`, batch by batch, where that is little: it saves a run.
    """
    sublayer = narrow.sublayer
    priors = [narrow.sites.writer(expert) for expert in narrow.sites.experts]
    fits: list[BlockFit] = []

    def record(site: str, before: float, after: float) -> None:
        site = f"{sublayer.name}.{site}"
        fits.append(BlockFit(layer=index, site=site, error_before=before, error_after=after))

    last = sublayer.writer
    place = last.path.rpartition(".")[2] if last.parameter == "weight" else last.parameter
    for _ in range(job.neuron_steps if sublayer.is_mlp else 0):
        with fast_products():
            guess = _writer_sums(job, narrow, streams, dtype=torch.float32)
        _check(guess, f"layer {index}, {sublayer.name}.{place}")
        _solve(job, narrow, guess, priors, torch.float32)
        record("gate_up", *step_gate_and_up(job, narrow, partial(_rows, job, narrow, streams)))
    width = priors[0].weight.shape[1]
    keeps = not sublayer.experts and keeps_inner(job.plan.dense, job.tokens, inner_width=width)
    sums = _writer_sums(job, narrow, streams, keep=kept if keeps else None)
    _check(sums, f"layer {index}, {sublayer.name}.{place}")
    weights = _solve(job, narrow, sums, priors, job.set_dtype)
    if job.rounding is not None and not sublayer.experts:
        round_writer(job.rounding, narrow, sums[0].sums.gram, job.place(index))
        weights = [narrow.sites.writer().weight]

    def errors() -> tuple[Tensor]:
        tried = ([prior.weight for prior in priors], weights)
        return (torch.tensor([_relative_error(sums, each) for each in tried], dtype=torch.float64),)

    ((before, after),) = job.ranks.solved(errors, like=(torch.empty(2, dtype=torch.float64),))
    record(place, float(before), float(after))
    return fits


def _solve(
    job: Job, narrow: Branch, regressions: list[_Expert], priors: list[Matrix], dtype: torch.dtype
) -> list[Tensor]:
    """Set every writer to its fit (k, i), float64.

    The prior counts at least as much as the same number of tokens for each expert; so few change little.
    """
    weights = []
    for expert, ((sums, tokens), prior) in enumerate(zip(regressions, priors, strict=True)):
        weight = prior.weight
        if tokens:
            solve = partial(_solved, sums, weight.T, job.ridge(tokens))
            weight = job.ranks.solved(solve, like=(weight.double().T,))[0].T
        narrow.sites.set_writer(Matrix(weight, prior.bias), dtype, expert)
        weights.append(weight)
    return weights


def _solved(sums: Sums, prior: Tensor, ridge: float) -> tuple[Tensor]:
    return (ridge_solve(sums, prior, ridge),)


def _check(regressions: list[_Expert], where: str) -> None:
    for sums, _ in regressions:
        check_finite(where, *sums)


def _relative_error(regressions: list[_Expert], weights: list[Tensor]) -> float:
    """Squared error of all writers together, relative to what they are to give."""
    energies = [float(sums.energy) for sums, _ in regressions]
    errors = [
        energy * relative_error(sums, weight.T) if energy else 0.0
        for (sums, _), weight, energy in zip(regressions, weights, energies, strict=True)
    ]
    return sum(errors) / max(sum(energies), 1e-300)


def _rows(job: Job, narrow: Branch, streams: Streams, *, every: int = 1) -> Iterator[Row]:
    """Batches of y, what y lacks after this sublayer, and row weights 1 / rms(dense)^2; float32.

    Behind a post-norm, what its input lacks: the target times the input's rms as it is now. The squared
    error is the same, and what multiplies the writer's output is a constant again.
    """
    assert streams.narrow is not None
    bias = narrow.sites.writer().bias
    for number, batch in enumerate(streams.fitted_slices(), streams.first_batch):
        if number % every:
            continue
        y = streams.read_narrow(batch).to(job.device)
        dense = streams.dense[batch].to(job.device)  # already past this sublayer
        lacking = job.projected(dense) - streams.narrow[batch].to(job.device)
        weights = 1.0 / (dense.square().mean(-1) + job.epsilon)
        if narrow.sites.post_norm is not None:
            scale = narrow.written(narrow.inner(y), y).square().mean(-1) + job.epsilon
            lacking, weights = lacking * scale.sqrt()[..., None], weights / scale
        if bias is not None:
            lacking = lacking - bias.to(lacking.dtype)
        yield Row(y, lacking.flatten(0, -2), weights.flatten(), number)
        if every == 1:
            job.progress.advance(len(y))


def _writer_sums(
    job: Job,
    narrow: Branch,
    streams: Streams,
    *,
    dtype: torch.dtype = torch.float64,
    keep: list[list[Inner]] | None = None,
) -> list[_Expert]:
    """Regress what the narrow stream lacks on the inner activations, which go to `keep` as well.

    Of several experts each is to correct, beyond what it gives now, what all of them together still lack.
    """
    writers = [narrow.sites.writer(expert).weight.float() for expert in narrow.sites.experts]
    hidden, width = writers[0].shape
    products = torch.float32 if torch.float32 in (dtype, job.products) else torch.float64
    found = [empty_sums(width, hidden, job.device, dtype) for _ in writers]
    counts = [0.0] * len(writers)
    for y, lacking, weights, _ in _rows(job, narrow, streams):
        inner = narrow.inner(y)
        rest = shared_rest(inner, lacking, writers) if narrow.sublayer.experts else lacking
        for routed, value in inner:
            wanted, weight = routed.of(rest), routed.of(weights)
            if routed.share is not None:
                wanted = wanted + value @ writers[routed.expert].T
                weight = weight * routed.share[:, 0]
            add_rows(found[routed.expert], value, wanted, weight, products=products)
            counts[routed.expert] += len(value)
        if keep is not None:
            keep.append([entry._replace(value=entry.value.cpu()) for entry in inner])
    for sums in found:
        job.ranks.summed(*sums)
    return [_Expert(*each) for each in zip(found, map(int, job.ranks.totals(*counts)), strict=True)]
