"""Sums of products of rows. Pure."""

from torch import Tensor

__all__ = ["second_moment"]

_BLOCK_COLUMNS = 256


def second_moment(into: Tensor, rows: Tensor) -> None:
    """Add rows^T rows, (p, p), in place. Only blocks on and below the diagonal are multiplied.

    Args:
        into: (p, p), symmetric; its dtype is the one of the products, float64 for every sum that is solved.
        rows: (n, p), any float dtype.
    """
    wide = rows.to(into.dtype)
    for start in range(0, into.shape[0], _BLOCK_COLUMNS):
        stop = start + _BLOCK_COLUMNS
        into[start:, start:stop].addmm_(wide[:, start:].T, wide[:, start:stop])
        into[start:stop, stop:] = into[stop:, start:stop].T
        block = into[start:stop, start:stop]  # a matrix product need not round symmetrically
        block.copy_(block.tril() + block.tril(-1).T)
