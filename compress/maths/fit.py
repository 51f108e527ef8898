"""Closed-form least squares for both compensations (METHOD, readout fit and writer fit). Pure; float64.

Shapes: n tokens, p inputs, q outputs. A fitted map is X (p, q), applied to rows: input @ X.
Readout: input is the normalised narrow stream, output the normalised dense stream; M = X.
Writer: input is the sublayer's inner activation, output what the narrow stream still lacks; W = X^T.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from .guards import factorising
from .moments import add_product, second_moment

__all__ = ["Sums", "add_rows", "empty_sums", "relative_error", "ridge_solve"]


class Sums(NamedTuple):
    """Sufficient statistics of a regression, summed over rows in float64."""

    gram: Tensor  # (p, p) inputs^T inputs
    cross: Tensor  # (p, q) inputs^T outputs
    energy: Tensor  # () sum of squared outputs


def empty_sums(inputs: int, outputs: int, device: torch.device, dtype: torch.dtype = torch.float64) -> Sums:
    """Sums over no rows. Below float64 they are good for a first guess only."""

    def zeros(*shape: int) -> Tensor:
        return torch.zeros(shape, dtype=dtype, device=device)

    return Sums(zeros(inputs, inputs), zeros(inputs, outputs), zeros())


def add_rows(
    sums: Sums,
    inputs: Tensor,
    outputs: Tensor,
    weights: Tensor | None = None,
    *,
    products: torch.dtype | None = None,
) -> None:
    """Add rows to the sums, in place.

    Args:
        sums: where to add.
        inputs: (n, p), any float dtype.
        outputs: (n, q), any float dtype.
        weights: (n,) weight of each row's squared error; ones by default.
        products: dtype of the products of these rows; the sums' own by default.
    """
    dtype = products or sums.gram.dtype
    x, y = inputs.to(dtype), outputs.to(dtype)
    if weights is not None:
        root = weights.to(dtype).sqrt()[:, None]
        x, y = _scaled(x, root, inputs), _scaled(y, root, outputs)
    second_moment(sums.gram, x, dtype)
    add_product(sums.cross, x, y)
    sums.energy.add_(y.square().sum())


def _scaled(rows: Tensor, factor: Tensor, original: Tensor) -> Tensor:
    """Rows times factor, in place unless they are the caller's own."""
    return rows * factor if rows.data_ptr() == original.data_ptr() else rows.mul_(factor)


def ridge_solve(sums: Sums, prior: Tensor, ridge: float) -> Tensor:
    """X (p, q) minimising ||inputs X - outputs||^2 + r ||X - prior||^2, r = ridge * trace(gram) / p.

    The prior's error is an upper bound of the result's, because the penalty is zero at the prior.

    Args:
        sums: the regression.
        prior: (p, q), where the penalty pulls.
        ridge: relative strength; 0 leaves a floor of 1e-12 so that dead inputs do not break the solve.

    Raises:
        ConvergenceError: the sums are not finite, or not positive definite in spite of the ridge.
    """
    gram, prior = sums.gram.double(), prior.double()
    strength = max(ridge, 1e-12) * gram.diagonal().mean().clamp_min(1e-30)
    lhs = gram.clone()
    lhs.diagonal().add_(strength)
    step = sums.cross.double() - gram @ prior  # solve for the change, so that an exact prior stays exact
    with factorising("the second moment of a fit's inputs"):
        solution: Tensor = prior + torch.cholesky_solve(step, torch.linalg.cholesky(lhs))
    return solution


def relative_error(sums: Sums, solution: Tensor) -> float:
    """||inputs X - outputs||^2 / ||outputs||^2 for X (p, q), from the sums."""
    x = solution.double()
    residual = sums.energy - 2 * (x * sums.cross).sum() + (x * (sums.gram @ x)).sum()
    return float(residual.clamp_min(0) / sums.energy.clamp_min(1e-300))
