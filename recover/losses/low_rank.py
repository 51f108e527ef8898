"""The matrix of few ranks that repairs most of an error (METHOD, adapter). Pure; float64.

Least squares weighs each direction of the inputs by the energy that they have along it, so the error is
truncated in the inputs' own eigenspace (EoRA, arXiv 2410.21271) instead of as a matrix.

Shapes: p inputs, q outputs, r rank.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ...compress.maths.fit import Sums, ridge_solve
from ...compress.maths.guards import factorising

__all__ = ["LowRank", "low_rank_solve"]


class LowRank(NamedTuple):
    """What is added to a weight (q, p): up @ down."""

    down: Tensor  # (r, p) float64
    up: Tensor  # (q, r) float64

    @property
    def weight(self) -> Tensor:
        """(q, p)."""
        return self.up @ self.down


def low_rank_solve(sums: Sums, rank: int, ridge: float) -> LowRank:
    """The map of rank r that minimises ||inputs X - outputs||^2 + s ||X||^2, s = ridge * trace(gram) / p.

    Args:
        sums: of the inputs, and of what is still missing as outputs.
        rank: r; at most p and q are used, and the rest is zero.
        ridge: relative strength of the pull towards adding nothing.

    Raises:
        ConvergenceError: the sums are not finite, or not positive definite in spite of the ridge.
    """
    full = ridge_solve(sums, torch.zeros_like(sums.cross), ridge)  # (p, q)
    gram = sums.gram.double().clone()
    gram.diagonal().add_(max(ridge, 1e-12) * gram.diagonal().mean().clamp_min(1e-30))
    with factorising("the second moment of an adapter's inputs"):
        root = torch.linalg.cholesky(gram).T  # upper (p, p), gram = root^T root
        left, sizes, right = torch.linalg.svd(root @ full, full_matrices=False)
    kept = min(rank, len(sizes))
    down, up = full.new_zeros(rank, len(gram)), full.new_zeros(full.shape[1], rank)
    half = sizes[:kept].sqrt()
    down[:kept] = torch.linalg.solve_triangular(root, left[:, :kept] * half, upper=True).T
    up[:, :kept] = right[:kept].T * half
    return LowRank(down, up)
