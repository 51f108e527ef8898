"""Weights on a grid of few bits, rounded so that their products change least (GPTQ, arXiv 2210.17323).

A stored weight is scale times code. Rounding one column of a matrix leaves an error that the columns behind
it can still undo, as far as their inputs go together: that is what the second moment of the inputs tells.
Scales are chosen beforehand, so columns may be taken in any order without anything being stored about it.

Shapes: o outputs, i inputs, g groups of inputs with one scale each. Pure; float64 inside.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from .guards import factorising

__all__ = ["Grid", "Rounded", "best_scales", "round_by_moment"]

Codes = Literal["int4", "int8", "fp8"]
_RANGES: dict[Codes, tuple[float, float]] = {"int4": (-8, 7), "int8": (-128, 127), "fp8": (-448, 448)}
_CLIPS = tuple(1.0 - 0.04 * step for step in range(9))  # shares of the largest weight that codes still reach
_DAMPING = 0.01  # of the mean second moment
_BLOCK_COLUMNS = 128


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Which values a weight can have.

    Attributes:
        codes: what is stored of each weight.
        group_size: weights of a row that share a scale; None: all of it.
        scale_dtype: of the stored scales.
    """

    codes: Codes
    group_size: int | None
    scale_dtype: torch.dtype

    def nearest(self, values: Tensor) -> Tensor:
        """The codes next to some values that have been divided by their scales, in the values' dtype."""
        within = values.clamp(*_RANGES[self.codes])
        return within.to(torch.float8_e4m3fn).to(values) if self.codes == "fp8" else within.round()

    @property
    def largest(self) -> float:
        """What the largest weight of a group is scaled to: in the middle of the range's two ends."""
        low, high = _RANGES[self.codes]
        return (high - low) / 2


class Rounded(NamedTuple):
    """A matrix on its grid."""

    weight: Tensor  # (o, i) float64, scale times code
    scale: Tensor  # (o, g) in the grid's scale dtype


def best_scales(weight: Tensor, importance: Tensor, grid: Grid) -> Tensor:
    """Scales (o, g) whose nearest codes err least; clipping the largest makes all other steps finer.

    Args:
        weight: (o, i).
        importance: (i,) what the squared error of a column counts.
        grid: the weights' grid.
    """
    size = grid.group_size or weight.shape[1]
    groups, counts = weight.double().unflatten(1, (-1, size)), importance.double().view(-1, size)
    largest = groups.abs().amax(-1).clamp_min(torch.finfo(grid.scale_dtype).tiny * grid.largest)  # (o, g)
    best, best_error = torch.ones_like(largest), torch.full_like(largest, torch.inf)
    for clip in _CLIPS:
        scale = (largest * clip / grid.largest).to(grid.scale_dtype).double()
        rounded = grid.nearest(groups / scale[..., None]) * scale[..., None]
        error = ((rounded - groups).square() * counts).sum(-1)
        best = torch.where(error < best_error, scale, best)
        best_error = torch.minimum(error, best_error)
    return best.to(grid.scale_dtype)


def round_by_moment(weight: Tensor, moment: Tensor, grid: Grid) -> Rounded:
    """Round a matrix so that what it makes of its inputs changes least.

    Args:
        weight: (o, i), any float dtype.
        moment: (i, i) sum or mean of the inputs' products x x^T; inputs that were never there are rounded to
            the nearest.
        grid: of the result; its group size divides i.

    Raises:
        ConvergenceError: the moment is not finite.
    """
    hessian = moment.double().clone()
    hessian.diagonal().add_(_DAMPING * hessian.diagonal().mean().clamp_min(1e-30))
    scale = best_scales(weight, hessian.diagonal(), grid)
    order = hessian.diagonal().argsort(descending=True)  # the most active while most can still be undone
    steps = scale.double().repeat_interleave(weight.shape[1] // scale.shape[1], 1)[:, order]
    with factorising("the second moment of a matrix's inputs"):
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(hessian[order][:, order]))
        upper = torch.linalg.cholesky(inverse, upper=True)
    rounded = _in_order(weight.double()[:, order], steps, upper, grid)
    return Rounded(rounded[:, order.argsort()], scale)


def _in_order(weight: Tensor, steps: Tensor, upper: Tensor, grid: Grid) -> Tensor:
    """Round the columns (o, i) from left to right, each passing its error on through the factor (i, i)."""
    left = weight.clone()
    for start in range(0, weight.shape[1], _BLOCK_COLUMNS):
        stop = min(start + _BLOCK_COLUMNS, weight.shape[1])
        errors = torch.empty_like(left[:, start:stop])
        for column in range(start, stop):
            value, step = left[:, column].clone(), steps[:, column]
            left[:, column] = grid.nearest(value / step) * step
            error = (value - left[:, column]) / upper[column, column]
            left[:, column + 1 : stop].addr_(error, upper[column, column + 1 : stop], alpha=-1)
            errors[:, column - start] = error
        left[:, stop:].addmm_(errors, upper[start:stop, stop:], alpha=-1)
    return left
