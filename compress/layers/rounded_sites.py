"""Rounds the matrices of a branch while the layers are fitted, so that later fits see what rounding did.

Shapes: o outputs, i inputs, g groups of inputs with one scale each.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from ..families.family import Site
from ..maths.rounding import Grid, round_by_moment
from ..streams.activations import Branch

__all__ = ["Rounding", "round_readers", "round_writer"]


@dataclass(frozen=True)
class Rounding:
    """A grid, and the scales (o, g) of the linear layers that are on it, by their paths in the model."""

    grid: Grid
    scales: dict[str, Tensor] = field(default_factory=dict)


def round_readers(rounding: Rounding, narrow: Branch, moment: Tensor, place: str) -> None:
    """Round what reads the stream of a branch, in place.

    Args:
        rounding: the grid; gets the scales.
        narrow: the branch, its readers in float32.
        moment: (d, d) of what its norm gives.
        place: path of the layer in the model.
    """
    _round(rounding, narrow, narrow.sublayer.readers, moment, place)


def round_writer(rounding: Rounding, narrow: Branch, moment: Tensor, place: str) -> None:
    """Round what writes to the stream, in place; `moment` (i, i) is of what it reads."""
    _round(rounding, narrow, (narrow.sublayer.writer,), moment, place)


def _round(rounding: Rounding, narrow: Branch, sites: Iterable[Site], moment: Tensor, place: str) -> None:
    """Linear layers that read the same share their factorisation. Stacks of experts stay as they are."""
    linears = {
        path: module
        for path in dict.fromkeys(site.path for site in sites)
        if isinstance(module := narrow.core.get_submodule(path), nn.Linear)
    }
    if not linears:
        return
    sizes = [module.out_features for module in linears.values()]
    rounded = round_by_moment(
        torch.cat([module.weight.data for module in linears.values()]), moment, rounding.grid
    )
    parts = zip(linears.items(), rounded.weight.split(sizes), rounded.scale.split(sizes), strict=True)
    for (path, module), weight, scale in parts:
        module.weight.data.copy_(weight)
        rounding.scales[".".join(filter(None, (place, narrow.sublayer.core, path)))] = scale.cpu()
