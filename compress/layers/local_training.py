"""Trains the matrices of one narrow sublayer towards what its stream lacks (METHOD, local training).

The closed forms come first. What is left is not linear in the matrices, so Adam goes on from there. No
gradient passes through another sublayer: the memory is that of one with its gradients and two moments.

Shapes: k new hidden size; w windows of t tokens; s windows, or rows, of one step.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..maths.precision import fast_products
from ..streams.activations import Branch
from .job import Job, Streams

__all__ = ["Trained", "rate_at", "train_sublayer"]

LEARNING_RATE = 3e-3  # of Adam, as a fraction of each matrix's root mean square
BETAS = (0.9, 0.99)
STEP_TOKENS = 1024
WARM_UP_STEPS = 20


class Trained(NamedTuple):
    """Relative squared error on the windows that no fit has seen, before and after."""

    before: float
    after: float


def rate_at(step: int, steps: int) -> float:
    """Fraction of the highest learning rate: linear up within twenty steps, then linear down to zero."""
    return min(1.0, (step + 1) / WARM_UP_STEPS) * (1.0 - step / steps)


def train_sublayer(job: Job, branch: Branch, streams: Streams, *, epochs: int, seed: int) -> Trained:
    """Train every matrix of a narrow branch; the narrow stream is in front of it, the dense one behind.

    After each epoch the error on the held windows is taken, with the matrices as they will be stored.
    Training stops when it no longer falls, and the best matrices stay: where it never fell, the first ones.

    Args:
        job: device, stored dtype, basis.
        branch: holds the closed forms' results; its matrices are changed in place.
        streams: with windows that are held from the fits.
        epochs: at most.
        seed: of the order of the windows.
    """
    matrices = _matrices(branch)
    rows, optimizer = _Rows(job, branch, streams), _optimizer(matrices)
    generator = torch.Generator().manual_seed(seed)
    best = before = _held_error(job, branch, streams)
    kept = _copies(matrices)
    steps = epochs * rows.count
    for epoch in range(epochs):
        for number, part in enumerate(rows.steps(generator)):
            _set_rate(optimizer, rate_at(epoch * rows.count + number, steps))
            _step(job, branch, optimizer, matrices, rows.batch(part))
        trained = _copies(matrices)
        _put(matrices, [matrix.to(job.stored_dtype).float() for matrix in trained])
        error = _held_error(job, branch, streams)
        job.progress.advance(len(streams.dense))
        if not error < best:
            job.progress.advance((epochs - epoch - 1) * len(streams.dense))
            break
        best, kept = error, _copies(matrices)
        _put(matrices, trained)
    _put(matrices, kept)
    for matrix in matrices:
        matrix.requires_grad_(False)
        matrix.grad = None
    return Trained(before, best)


class _Batch(NamedTuple):
    """What a branch reads (s, t, k), and the streams in front of (s, t, k) and behind it (s, t, d)."""

    read: Tensor
    narrow: Tensor
    dense: Tensor


class _Rows:
    """Batches of the windows that fits may see: single tokens for an MLP, whole windows for an attention."""

    def __init__(self, job: Job, branch: Branch, streams: Streams) -> None:
        """Views of the streams."""
        assert streams.narrow is not None
        self.job = job
        read = streams.narrow if streams.entered is None else streams.entered[1]
        assert read is not None
        parts = [stream.values[: streams.fitted] for stream in (read, streams.narrow, streams.dense)]
        self.dtype = streams.dense.dtype
        if branch.sublayer.is_mlp:
            parts = [part.reshape(-1, 1, part.shape[-1]) for part in parts]
        self.parts = parts
        self.size = max(1, STEP_TOKENS // parts[0].shape[1])
        per_window = len(parts[0]) // streams.fitted
        self.first = streams.before * per_window
        self.total = (streams.fitted_by_all or streams.fitted) * per_window
        self.count = max(1, self.total // self.size)

    def steps(self, generator: torch.Generator) -> Iterator[Tensor]:
        """Indices of this process's rows of each step of an epoch.

        A remainder that fills no step is left for the next epoch.
        """
        order = torch.randperm(self.total, generator=generator) - self.first
        for number in range(self.count):
            step = order[number * self.size : (number + 1) * self.size]
            yield step[(step >= 0) & (step < len(self.parts[0]))]

    def batch(self, part: Tensor) -> _Batch:
        """One step's rows."""
        read, narrow, dense = (each[part].to(self.job.device, self.dtype) for each in self.parts)
        return _Batch(read, narrow, dense)


def _optimizer(matrices: list[nn.Parameter]) -> torch.optim.Adam:
    groups = [{"params": [matrix.requires_grad_(True)], "scale": _scale(matrix)} for matrix in matrices]
    return torch.optim.Adam(groups, lr=LEARNING_RATE, betas=BETAS)


def _set_rate(optimizer: torch.optim.Optimizer, fraction: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = fraction * LEARNING_RATE * group["scale"]


def _step(
    job: Job, branch: Branch, optimizer: torch.optim.Optimizer, matrices: list[nn.Parameter], batch: _Batch
) -> None:
    optimizer.zero_grad()
    with torch.enable_grad(), fast_products():
        error, energy = _errors(job, branch, batch) if len(batch.read) else torch.zeros(2, device=job.device)
        job.ranks.summed(energy)
        if error.requires_grad:
            (error / energy.clamp_min(1e-30)).backward()
    if job.ranks.count > 1:
        for matrix in matrices:
            matrix.grad = torch.zeros_like(matrix) if matrix.grad is None else matrix.grad
            job.ranks.summed(matrix.grad)
    optimizer.step()


def _errors(job: Job, branch: Branch, batch: _Batch) -> tuple[Tensor, Tensor]:
    """Squared error of what a branch adds, and energy of what it is to add; rows by 1 / rms(dense)^2."""
    weights = 1.0 / (batch.dense.square().mean(-1) + job.epsilon)
    lacking = job.projected(batch.dense) - batch.narrow
    rest = lacking - branch.forward(batch.read)
    return (rest.square().sum(-1) * weights).sum(), (lacking.square().sum(-1) * weights).sum()


@torch.no_grad()
def _held_error(job: Job, branch: Branch, streams: Streams) -> float:
    assert streams.narrow is not None
    error = energy = 0.0
    for some in streams.held_slices():
        parts = (streams.read_narrow(some), streams.narrow[some], streams.dense[some])
        more = _errors(job, branch, _Batch(*(part.to(job.device) for part in parts)))
        error, energy = error + float(more[0]), energy + float(more[1])
    error, energy = job.ranks.totals(error, energy)
    return error / max(energy, 1e-300)


def _matrices(branch: Branch) -> list[nn.Parameter]:
    """Every reader's and writer's tensor, each once; a router's choice has no gradient and stays."""
    sites = [site for site in branch.sublayer.sites if site.role != "router"]
    found = [branch.core.get_submodule(site.path).get_parameter(site.parameter) for site in sites]
    return list({id(parameter): parameter for parameter in found}.values())


def _scale(matrix: Tensor) -> float:
    return float(matrix.detach().square().mean().sqrt())


def _copies(matrices: list[nn.Parameter]) -> list[Tensor]:
    return [matrix.detach().clone() for matrix in matrices]


def _put(matrices: list[nn.Parameter], values: list[Tensor]) -> None:
    with torch.no_grad():
        for matrix, value in zip(matrices, values, strict=True):
            matrix.copy_(value)
