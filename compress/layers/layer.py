"""Second pass: narrows one decoder layer after the other while the dense and narrow streams advance together.

See METHOD: the readout fit decides what each norm feeds its readers, the writer fit what each sublayer adds
to the stream; both see the errors of everything before them.
"""

from contextlib import nullcontext
from typing import Any

from torch import Tensor, nn

from ..families.surgery import narrow_layer, refuse_unset, to_float32
from ..maths.guards import check_finite
from ..maths.precision import fast_products
from ..record.report import BlockFit
from ..streams.activations import Branch, Inner
from .advance import advance_dense, advance_narrow
from .gain_fit import fit_gain
from .job import Job, Streams
from .local_training import train_sublayer
from .readout_fit import add_readout_rows, empty_readout_sums, fit_readout, set_readers
from .rounded_sites import round_readers
from .unit_choice import InnerSums
from .units import Chosen
from .writer_fit import fit_writer, set_writer

__all__ = ["advance", "drop_layer", "narrow_one_layer"]


def narrow_one_layer(
    job: Job, dense_layer: nn.Module, index: int, streams: Streams, arguments: list[dict[str, Any]]
) -> tuple[nn.Module, list[BlockFit]]:
    """The narrow layer, in float32 holding storable values, and its fit errors. Advances both streams.

    Args:
        job: what to do.
        dense_layer: the layer.
        index: its number in the narrow model.
        streams: in front of it.
        arguments: of `call_arguments`.

    Raises:
        ModelError: the layer has a tensor that its family does not know, or one that is not finite.
    """
    dense_layer = to_float32(dense_layer, job.device)
    layer = narrow_layer(job.make_layer, dense_layer, job.family, job.plan.narrow_config, index)
    with fast_products() if job.config.amount.fast else nullcontext():
        fits = _narrow_branches(job, dense_layer, layer, index, streams, arguments)
    refuse_unset(layer, index)
    return layer, fits


def _narrow_branches(
    job: Job,
    dense_layer: nn.Module,
    layer: nn.Module,
    index: int,
    streams: Streams,
    arguments: list[dict[str, Any]],
) -> list[BlockFit]:
    """Set every branch of a narrow layer, and advance both streams."""
    fits: list[BlockFit] = []
    streams.enter_layer(parallel=job.parallel)
    pairs = zip(
        job.dense_branches(dense_layer, arguments), job.narrow_branches(layer, arguments), strict=True
    )
    for dense, narrow in pairs:
        readout, chosen, fit, moment = _observe(job, dense, streams, index)
        fits += fit
        set_readers(job, dense, narrow, readout, chosen)
        if job.rounding is not None and moment is not None:
            round_readers(job.rounding, narrow, moment, job.place(index))
        set_writer(job, dense, narrow, chosen)
        kept: list[list[Inner]] = []
        if job.fits_writer:
            fits += fit_writer(job, narrow, streams, index, kept)
            fits += fit_gain(job, narrow, streams, index)
        if job.epochs:
            fits.append(_trained(job, narrow, streams, index))
            kept.clear()
        job.ranks.taken_over(narrow.core.parameters())
        advance_narrow(job, narrow, streams, kept)
    return fits


def _trained(job: Job, narrow: Branch, streams: Streams, index: int) -> BlockFit:
    """Train a branch, and say what its error was on the held windows before and after."""
    seed = job.config.seed + index
    before, after = train_sublayer(job, narrow, streams, epochs=job.epochs, seed=seed)
    site = f"{narrow.sublayer.core or 'mlp'}.held"
    return BlockFit(layer=index, site=site, error_before=before, error_after=after)


def advance(
    job: Job, dense_layer: nn.Module, layer: nn.Module, streams: Streams, arguments: list[dict[str, Any]]
) -> None:
    """Move both streams through a layer that is already narrowed (a resumed run)."""
    drop_layer(job, dense_layer, streams, arguments)
    for branch in job.narrow_branches(layer, arguments):
        advance_narrow(job, branch, streams)


def drop_layer(job: Job, dense_layer: nn.Module, streams: Streams, arguments: list[dict[str, Any]]) -> None:
    """Move the dense stream alone through a layer: what the narrow one lacks then is for the next fits."""
    streams.enter_layer(parallel=job.parallel)
    for branch in job.dense_branches(to_float32(dense_layer, job.device), arguments):
        advance_dense(job, branch, streams)


def _observe(
    job: Job, dense: Branch, streams: Streams, index: int
) -> tuple[Tensor | None, Chosen, list[BlockFit], Tensor | None]:
    """Pass the dense stream through one sublayer; the readout in front of it, and what stays of it.

    With the fits, and the second moment (k, k) of what the readers read, None where nothing is fitted.
    """
    sums = empty_readout_sums(job)
    inner_sums = InnerSums(job, dense, index) if job.plan.chooses(dense.sublayer) else None
    normed = dense.sublayer.norm is not None

    def seen(x: Tensor, batch: slice, inner: list[Inner]) -> None:
        if batch.start >= streams.fitted:
            return
        if sums is not None and streams.narrow is not None:
            add_readout_rows(job, sums, x, streams.read_narrow(batch), normed=normed)
        if inner_sums is not None:
            inner_sums.add(inner)

    if job.needs_dense_stream:
        advance_dense(job, dense, streams, seen=seen)
    if inner_sums is not None:
        inner_sums.gather()
        check_finite(f"layer {index}, {dense.sublayer.name}", *inner_sums.sums)
    readout, fits = fit_readout(job, sums, index, f"{dense.sublayer.name}.readout")
    chosen = Chosen(tuple(dense.sites.experts), {}) if inner_sums is None else inner_sums.choose()
    return readout, chosen, fits, None if sums is None else sums.gram
