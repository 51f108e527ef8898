"""Walks through a narrow model and its original side by side and fits an adapter to each linear layer.

What a reader gives is compared with what the original's reader gives, where both have the same rows; what
a writer gives, with what the narrow stream still lacks of the original's. Every fit sees those before it.

Shapes: w windows of t tokens; d, k hidden size of the original and of the narrow model.
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ...compress.families.call_arguments import call_arguments
from ...compress.families.surgery import to_float32
from ...compress.layers.survey import enter
from ...compress.maths.fit import Sums, add_rows, empty_sums
from ...compress.maths.guards import check_finite
from ...compress.record.progress import Progress
from ...compress.streams.activations import Branch, batches, branches_of
from ...compress.streams.stream import Stream, StreamRoom
from ...compress.weights.dense import DenseModel
from ...errors import ModelError
from ..losses.low_rank import LowRank, low_rank_solve
from ..models.teacher import projection

__all__ = ["fit_adapter"]

RIDGE_SHARE, RIDGE_TOKENS = 0.3, 1600.0  # as in the fits of compress


@dataclass(kw_only=True)
class _Walk:
    """Both streams in front of a branch."""

    dense: Stream  # (w, t, d)
    narrow: Stream  # (w, t, k)
    project: Tensor | None  # (d, k); None: the narrow stream has the original's basis
    epsilon: float
    ridge: float
    device: torch.device
    progress: Progress
    entered: tuple[Stream, Stream] | None = None  # both before a layer whose branches all read that

    def slices(self) -> Iterator[slice]:
        """Batches of windows; each is a unit of progress."""
        for batch in batches(len(self.dense), self.dense.shape[1]):
            yield batch
            self.progress.advance(len(self.dense[batch]))

    def read(self, batch: slice) -> tuple[Tensor, Tensor]:
        """What the branches of both models read."""
        dense, narrow = self.entered or (self.dense, self.narrow)
        return dense[batch].to(self.device), narrow[batch].to(self.device)

    def lacking(self, batch: slice) -> tuple[Tensor, Tensor]:
        """What the narrow stream lacks (b t, k), and the weight (b t,) of each row, 1 / rms(dense)^2."""
        dense = self.dense[batch].to(self.device)
        wanted = dense if self.project is None else dense @ self.project
        weights = 1.0 / (dense.square().mean(-1) + self.epsilon)
        return (wanted - self.narrow[batch].to(self.device)).flatten(0, -2), weights.flatten()


@torch.no_grad()
def fit_adapter(
    teacher: DenseModel,
    narrow: DenseModel,
    windows: Tensor,
    rank: int,
    device: torch.device,
    progress: Progress,
) -> dict[str, LowRank]:
    """What to add to each linear layer, by its path in the narrow model. Both models are only read.

    Args:
        teacher: the original.
        narrow: the narrow or quantised model, of as many layers.
        windows: (w, t) int64.
        rank: of every addition.
        device: where the arithmetic runs.
        progress: told about every window.

    Raises:
        InputError: the two do not belong together.
        ModelError: the narrow model has no linear layer that can be compared.
    """
    room, found = StreamRoom(), dict[str, LowRank]()
    walk = _Walk(
        dense=enter(teacher, windows, room),
        narrow=enter(narrow, windows, room),
        project=_projection(teacher, narrow, device),
        epsilon=teacher.family.epsilon_of(teacher.config),
        ridge=RIDGE_SHARE + RIDGE_TOKENS / windows.numel(),
        device=device,
        progress=progress,
    )
    arguments = [
        call_arguments(each.skeleton, each.family, windows.shape[1], device) for each in (teacher, narrow)
    ]
    count = len(arguments[0])
    progress.begin("fit the adapter", count * 3 * len(teacher.family.sublayers) * len(windows))
    layers = [each.weights.layers(each.family.layers, range(count), device) for each in (teacher, narrow)]
    for index, (dense_layer, narrow_layer) in enumerate(zip(*layers, strict=True)):
        own = copy.deepcopy(to_float32(narrow_layer, device))  # gets what was fitted
        if teacher.family.runs_in_parallel(teacher.config):
            walk.entered = (room.copy(walk.dense), room.copy(walk.narrow))
        pairs = zip(
            branches_of(dense_layer, teacher.family, teacher.config, arguments[0][index]),
            branches_of(own, narrow.family, narrow.config, arguments[1][index]),
            strict=True,
        )
        for dense_branch, narrow_branch in pairs:
            place = ".".join(filter(None, (f"{narrow.family.layers}.{index}", narrow_branch.sublayer.core)))
            for path, added in _fit_branch(walk, dense_branch, narrow_branch, rank):
                found[f"{place}.{path}"] = added
    if not found:
        raise ModelError(f"{narrow.source.name} has no linear layer that an adapter could be fitted to")
    return found


def _projection(teacher: DenseModel, narrow: DenseModel, device: torch.device) -> Tensor | None:
    """The map (d, k) from the original's stream to the narrow one; None where it is the identity."""
    tables: list[Any] = [each.model.get_input_embeddings() for each in (teacher, narrow)]
    dense, small = (table.weight.float() for table in tables)
    if dense.shape == small.shape and float((dense - small).norm()) <= 0.01 * float(dense.norm()):
        return None
    return projection(teacher.model, narrow.model).to(device)


def _fit_branch(walk: _Walk, dense: Branch, narrow: Branch, rank: int) -> Iterator[tuple[str, LowRank]]:
    """Fit the readers, then the writer, and move both streams on."""
    plain = not narrow.sublayer.experts
    readers = _comparable(dense, narrow) if plain else {}
    sums = _reader_sums(walk, dense, narrow, readers)
    if sums is not None:
        sizes = [small.out_features for _, small in readers.values()]
        parts = zip(readers.items(), sums.cross.split(sizes, 1), strict=True)
        for (path, (_, small)), cross in parts:
            yield path, _added(small, low_rank_solve(sums._replace(cross=cross), rank, walk.ridge))
    writer = narrow.core.get_submodule(narrow.sublayer.writer.path)
    if plain and narrow.sites.post_norm is None and isinstance(writer, nn.Linear):
        sums = _writer_sums(walk, narrow, writer)
        yield narrow.sublayer.writer.path, _added(writer, low_rank_solve(sums, rank, walk.ridge))
    for batch in walk.slices():
        walk.narrow.add(batch, narrow.forward(walk.read(batch)[1]).cpu())


def _comparable(dense: Branch, narrow: Branch) -> dict[str, tuple[nn.Linear, nn.Linear]]:
    """Readers whose rows stand for the same in both models, by their paths from the core."""
    found = {}
    for path in dict.fromkeys(site.path for site in narrow.sublayer.readers):
        pair = (dense.core.get_submodule(path), narrow.core.get_submodule(path))
        if all(isinstance(each, nn.Linear) for each in pair) and pair[0].out_features == pair[1].out_features:
            found[path] = pair
    return found  # type: ignore[return-value]


def _reader_sums(
    walk: _Walk, dense: Branch, narrow: Branch, readers: dict[str, tuple[nn.Linear, nn.Linear]]
) -> Sums | None:
    """Regress what the readers' rows lack on what they read; the dense stream moves on."""
    sums = None
    for batch in walk.slices():
        x, y = walk.read(batch)
        if readers:
            wide, small = dense.normed(x).flatten(0, -2), narrow.normed(y).flatten(0, -2)
            rows = torch.cat([a(wide) - b(small) for a, b in readers.values()], 1)
            sums = sums or empty_sums(small.shape[1], rows.shape[1], walk.device)
            add_rows(sums, small, rows)
        walk.dense.add(batch, dense.forward(x).cpu())
    if sums is not None:
        check_finite(f"the readers of {narrow.sublayer.name}", *sums)
    return sums


def _writer_sums(walk: _Walk, narrow: Branch, writer: nn.Linear) -> Sums:
    """Regress what the narrow stream will lack, as the writer is, on what it reads."""
    scale = float(narrow.sites.multiplier)
    sums = empty_sums(writer.in_features, writer.out_features, walk.device)
    for batch in walk.slices():
        ((_, value),) = narrow.inner(walk.read(batch)[1])
        lacking, weights = walk.lacking(batch)
        add_rows(sums, value, lacking / scale - functional.linear(value, writer.weight, writer.bias), weights)
    check_finite(f"the writer of {narrow.sublayer.name}", *sums)
    return sums


def _added(module: nn.Linear, change: LowRank) -> LowRank:
    """Add a change to a layer's own copy, so that what follows sees it."""
    module.weight.data += change.weight.to(module.weight)
    return change
