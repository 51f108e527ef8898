"""Second pass: narrows one decoder layer after the other while the dense and narrow streams advance together.

Shapes: w windows of t tokens; d, k old and new hidden size; m, n old and new inner width of a sublayer.
Rows are tokens. See METHOD: the readout fit decides what each norm feeds its readers, the writer fit
what each sublayer adds to the stream; both see the errors of everything before them.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from .activations import Branch, branches_of, unit_rows
from .fit import Sums, add_rows, empty_sums, relative_error, ridge_solve
from .fold import absorb_gain, fold_reader, fold_writer, fold_writer_bias
from .guards import check_finite
from .job import Job, Streams, keeps_inner
from .mlp import NeuronMap, keep_neurons, output_energy, transport_neurons
from .moments import second_moment
from .neuron_fit import Row, step_gate_and_up
from .precision import fast_products
from .report import BlockFit
from .surgery import narrow_layer, replace_linear, set_unit_gain, to_float32

__all__ = ["advance", "fit_head", "narrow_one_layer"]


class _Survey:
    """What one dense sublayer shows while the dense stream passes through it."""

    def __init__(self, job: Job, inner_width: int, *, needs_inner: bool) -> None:
        self.readout: Sums | None = None
        if job.fits_readout:
            self.readout = empty_sums(job.project.shape[1], job.project.shape[0], job.device)
        self.needs_inner = needs_inner
        full = needs_inner and job.config.mlp_method == "dot"
        shape = (inner_width, inner_width) if full else (inner_width,)
        # transport costs need few digits, and nothing is solved with them
        dtype = torch.float32 if full else torch.float64
        self.inner = torch.zeros(*shape, dtype=dtype, device=job.device)

    def add_inner(self, inner: Tensor) -> None:
        rows = inner.flatten(0, -2)
        if self.inner.ndim == 2:
            second_moment(self.inner, rows)
        else:
            self.inner.add_(rows.square().sum(0, dtype=torch.float64))


def narrow_one_layer(
    job: Job, dense_layer: nn.Module, index: int, streams: Streams, arguments: list[dict[str, Any]]
) -> tuple[nn.Module, list[BlockFit]]:
    """The narrow layer, in float32 holding storable values, and its fit errors. Advances both streams."""
    dense_branches = branches_of(to_float32(dense_layer, job.device), job.family, arguments)
    layer = narrow_layer(dense_layer, job.plan.narrow_config, index, job.device)
    fits: list[BlockFit] = []
    for dense, narrow in zip(dense_branches, branches_of(layer, job.family, arguments), strict=True):
        survey = _survey(job, dense, streams)
        check_finite(f"layer {index}, {dense.sublayer.core}", survey.inner)
        readout, fit = _fit_readout(job, survey.readout, index, f"{dense.sublayer.core}.readout")
        fits += fit
        neurons = _choose_neurons(job, dense, survey)
        _set_readers(job, dense, narrow, readout, neurons)
        inner: list[Tensor] = []
        fits += _set_writer(job, dense, narrow, neurons, streams, index, inner)
        _advance_narrow(job, narrow, streams, inner)
    return layer, fits


def advance(job: Job, dense_layer: nn.Module, layer: nn.Module, streams: Streams, arguments: Any) -> None:
    """Move both streams through a layer that is already narrowed (a resumed run)."""
    for branch in branches_of(to_float32(dense_layer, job.device), job.family, arguments):
        for batch in streams.slices():
            x = streams.dense[batch].to(job.device)
            streams.dense[batch] = (x + branch.forward(x)).cpu()
            job.progress.advance(len(x))
    for branch in branches_of(layer, job.family, arguments):
        _advance_narrow(job, branch, streams)


def fit_head(job: Job, streams: Streams) -> tuple[Tensor, list[BlockFit]]:
    """The readout (k, d) in front of the head, and its fit error."""
    if streams.narrow is None:
        return job.readout, []
    sums = empty_sums(job.project.shape[1], job.project.shape[0], job.device)
    for batch in streams.slices():
        _add_readout_rows(job, sums, streams.dense[batch], streams.narrow[batch])
    return _fit_readout(job, sums, job.plan.dense.num_hidden_layers, f"{job.family.head}.readout")


def _survey(job: Job, branch: Branch, streams: Streams) -> _Survey:
    """Pass the dense stream through one sublayer and collect what the fits and the MLP choice need."""
    writer = branch.core.get_submodule(branch.sublayer.writer)
    chooses = branch.sublayer.is_mlp and job.plan.narrows_mlp
    survey = _Survey(job, writer.get_parameter("weight").shape[1], needs_inner=chooses)
    if not job.needs_dense_stream:
        return survey
    for batch in streams.slices():
        x = streams.dense[batch].to(job.device)
        if survey.readout is not None and streams.narrow is not None:
            _add_readout_rows(job, survey.readout, x, streams.narrow[batch])
        if survey.needs_inner:
            change, inner = branch.forward_with_inner(x)
            survey.add_inner(inner)
        else:
            change = branch.forward(x)
        streams.dense[batch] = (x + change).cpu()
        job.progress.advance(len(x))
    return survey


def _add_readout_rows(job: Job, sums: Sums, dense: Tensor, narrow: Tensor) -> None:
    rows = unit_rows(narrow.to(job.device), job.narrow_epsilon)
    add_rows(sums, rows, unit_rows(dense.to(job.device), job.epsilon))


def _fit_readout(job: Job, sums: Sums | None, index: int, site: str) -> tuple[Tensor, list[BlockFit]]:
    if sums is None:
        return job.readout, []
    check_finite(f"layer {index}, {site}", *sums)
    readout = ridge_solve(sums, job.readout, job.ridge)
    before, after = relative_error(sums, job.readout), relative_error(sums, readout)
    return readout, [BlockFit(layer=index, site=site, error_before=before, error_after=after)]


def _choose_neurons(job: Job, dense: Branch, survey: _Survey) -> NeuronMap | None:
    if not survey.needs_inner:
        return None
    inner = survey.inner.cpu().double().numpy()
    writer = dense.core.get_submodule(dense.sublayer.writer).get_parameter("weight")
    column_energy = writer.double().square().sum(0).cpu().numpy()
    width, config = job.plan.narrow.intermediate_size, job.config
    if inner.ndim == 1:
        return keep_neurons(output_energy(inner, column_energy), width)
    score = output_energy(inner.diagonal(), column_energy)
    return transport_neurons(inner, score, width, reg=config.reg, signed=config.signed, mass=config.mass)


def _set_readers(job: Job, dense: Branch, narrow: Branch, readout: Tensor, neurons: NeuronMap | None) -> None:
    gain = dense.norm.get_parameter("weight")
    set_unit_gain(narrow.norm)
    for name in dense.sublayer.readers:
        reader = dense.core.get_submodule(name)
        weight = fold_reader(absorb_gain(reader.get_parameter("weight"), gain), readout)  # (m, k)
        bias = getattr(reader, "bias", None)
        if neurons is not None:
            mixture = torch.from_numpy(neurons.gate if name == dense.sublayer.gate else neurons.up).to(
                job.device
            )
            weight = mixture.T @ weight  # (n, k)
            bias = None if bias is None else bias.double() @ mixture
        replace_linear(_linear(narrow, name), weight, bias, job.stored_dtype)


def _set_writer(
    job: Job,
    dense: Branch,
    narrow: Branch,
    neurons: NeuronMap | None,
    streams: Streams,
    index: int,
    inner: list[Tensor],
) -> list[BlockFit]:
    name = dense.sublayer.writer
    writer = dense.core.get_submodule(name)
    weight = fold_writer(writer.get_parameter("weight"), job.project)  # (k, m)
    if neurons is not None:
        weight = weight @ torch.from_numpy(neurons.expand).to(job.device).T  # (k, n)
    bias = getattr(writer, "bias", None)
    bias = None if bias is None else fold_writer_bias(bias, job.project)
    replace_linear(_linear(narrow, name), weight, bias, torch.float32)
    fits: list[BlockFit] = []
    if job.fits_writer:
        weight, fits = _fit_writer(job, narrow, streams, index, inner)
    replace_linear(_linear(narrow, name), weight, bias, job.stored_dtype)
    return fits


def _fit_writer(
    job: Job, narrow: Branch, streams: Streams, index: int, inner: list[Tensor]
) -> tuple[Tensor, list[BlockFit]]:
    """The fitted writer of a branch that holds the unfitted one; an MLP's gate and up are fitted on the way.

    What the writer reads is left in `inner`, batch by batch, where that is little: it saves a run.
    """
    sublayer = narrow.sublayer
    writer = _linear(narrow, sublayer.writer)
    prior = writer.get_parameter("weight").double()
    fits: list[BlockFit] = []

    def record(site: str, before: float, after: float) -> None:
        site = f"{sublayer.core}.{site}"
        fits.append(BlockFit(layer=index, site=site, error_before=before, error_after=after))

    for _ in range(job.neuron_steps if sublayer.is_mlp else 0):
        with fast_products():
            guess = _writer_sums(job, narrow, streams, dtype=torch.float32)
        check_finite(f"layer {index}, {sublayer.core}.{sublayer.writer}", *guess)
        replace_linear(writer, ridge_solve(guess, prior.T, job.ridge).T, None, torch.float32)
        rows = partial(_writer_rows, job, narrow, streams)
        record("gate_up", *step_gate_and_up(job, narrow, rows))
    kept = keeps_inner(job.plan.dense, job.tokens, inner_width=prior.shape[1])
    sums = _writer_sums(job, narrow, streams, keep=inner if kept else None)
    check_finite(f"layer {index}, {sublayer.core}.{sublayer.writer}", *sums)
    weight = ridge_solve(sums, prior.T, job.ridge).T
    record(sublayer.writer, relative_error(sums, prior.T), relative_error(sums, weight.T))
    return weight, fits


def _writer_rows(job: Job, narrow: Branch, streams: Streams, *, every: int = 1) -> Iterator[Row]:
    """Batches of y, what y lacks after this sublayer, and row weights 1 / rms(dense)^2; float32."""
    assert streams.narrow is not None
    bias = getattr(_linear(narrow, narrow.sublayer.writer), "bias", None)
    project = job.project.float()
    for batch in streams.slices()[::every]:
        y = streams.narrow[batch].to(job.device)
        dense = streams.dense[batch].to(job.device)  # already past this sublayer
        lacking = (dense @ project if job.plan.changes_basis else dense) - y
        if bias is not None:
            lacking = lacking - bias
        yield Row(y, lacking.flatten(0, -2), (1.0 / (dense.square().mean(-1) + job.epsilon)).flatten())
        if every == 1:
            job.progress.advance(len(y))


def _writer_sums(
    job: Job,
    narrow: Branch,
    streams: Streams,
    *,
    dtype: torch.dtype = torch.float64,
    keep: list[Tensor] | None = None,
) -> Sums:
    """Regress what the narrow stream lacks on the inner activations, which go to `keep` as well."""
    weight = _linear(narrow, narrow.sublayer.writer).get_parameter("weight")
    sums = empty_sums(weight.shape[1], weight.shape[0], job.device, dtype)
    for y, lacking, weights in _writer_rows(job, narrow, streams):
        inner = narrow.inner(y)
        add_rows(sums, inner.flatten(0, -2), lacking, weights)
        if keep is not None:
            keep.append(inner.cpu())
    return sums


def _advance_narrow(job: Job, narrow: Branch, streams: Streams, inner: list[Tensor] | None = None) -> None:
    """Add what the branch writes, from its inner activations where they were kept."""
    if streams.narrow is None:
        return
    writer = _linear(narrow, narrow.sublayer.writer)
    for number, batch in enumerate(streams.slices()):
        y = streams.narrow[batch].to(job.device)
        change = writer(inner[number].to(job.device)) if inner else narrow.forward(y)
        streams.narrow[batch] = (y + change).cpu()
        job.progress.advance(len(y))


def _linear(branch: Branch, name: str) -> nn.Module:
    return branch.core.get_submodule(name)
