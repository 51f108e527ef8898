"""Sums of products of rows. Pure."""

import torch
from torch import Tensor

__all__ = ["BLOCK_COLUMNS", "add_product", "second_moment"]

BLOCK_COLUMNS = 256


def second_moment(into: Tensor, rows: Tensor, products: torch.dtype | None = None) -> None:
    """Add rows^T rows, (p, p), in place. Only blocks on and below the diagonal are multiplied.

    Args:
        into: (p, p), symmetric, float64 for every sum that is solved.
        rows: (n, p), any float dtype.
        products: dtype of the products of these rows; `into`'s own by default.
    """
    wide = rows.to(products or into.dtype)
    for start in range(0, into.shape[0], BLOCK_COLUMNS):
        stop = start + BLOCK_COLUMNS
        add_product(into[start:, start:stop], wide[:, start:], wide[:, start:stop])
        into[start:stop, stop:] = into[stop:, start:stop].T
        block = into[start:stop, start:stop]  # a matrix product need not round symmetrically
        block.copy_(block.tril() + block.tril(-1).T)


def add_product(into: Tensor, left: Tensor, right: Tensor) -> None:
    """Add left^T right, (p, q), in place; the product has the dtype of the rows, the sum that of `into`."""
    if left.dtype == into.dtype:
        into.addmm_(left.T, right)
    else:
        into.add_(left.T @ right)
