"""Bases for models with LayerNorm: coordinates that sum to zero (METHOD "LayerNorm"). Pure; float64.

LayerNorm subtracts the mean, so only the part of the stream with zero mean is ever read: d - 1 dimensions. In
an orthonormal frame of that part LayerNorm is an RMSNorm. Carried over to a narrow zero-sum part, the stock
LayerNorm of the narrow model subtracts a mean that is zero and divides by the same length.

Shapes: d hidden size, k new hidden size; frames are (d, d - 1) and (k, k - 1).
"""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["carry_constant", "zero_sum_basis", "zero_sum_frame"]

Array = NDArray[np.float64]
Rows = TypeVar("Rows", Array, Tensor)


def zero_sum_frame(width: int) -> Array:
    """An orthonormal basis (width, width - 1) of the vectors whose entries sum to zero.

    The columns of the reflection that swaps the last axis and the diagonal (1, ..., 1) / sqrt(width): all but
    their last entries are near the identity's, so a coordinate keeps its meaning.
    """
    normal = np.full(width, width**-0.5)
    normal[-1] -= 1.0
    reflection: Array = np.eye(width) - np.outer(normal, normal) * (2 / (normal @ normal))
    return reflection[:, :-1]


def zero_sum_basis(reduced: Array) -> Array:
    """Q (d, k) of the whole stream from Q (d - 1, k - 1) in the coordinates of its frame.

    The rows and the columns of the result sum to zero: the mean of the dense stream is dropped, the narrow
    stream has none. Its rank is k - 1, one less than it has columns.
    """
    rows, columns = reduced.shape
    basis: Array = zero_sum_frame(rows + 1) @ reduced @ zero_sum_frame(columns + 1).T
    return basis


def carry_constant(reader: Rows, constant: Rows) -> Rows:
    """A reader (o, k) that adds `constant` (o,) when the norm before it has the bias (1, ..., 1).

    The direction (1, ..., 1) is free, because the narrow stream has no mean: a head without a bias of its own
    gets through it what a dense norm's bias gave.
    """
    free: Rows = reader + (constant - reader.sum(1))[:, None] / reader.shape[1]
    return free
