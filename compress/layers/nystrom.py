"""MLP neurons by Nystrom's approximation, as MoDeGPT chooses them (arXiv 2408.09632). Pure; float64.

Shapes: m neurons, n kept ones. S (m, m) is the second moment of the inner activations a.
"""

import numpy as np
import scipy.linalg

from ..maths.basis import largest
from .units import Array, Merge, Units

__all__ = ["keep_by_leverage", "ridge_leverage"]

_FLOOR = 1e-9  # of the mean second moment, added where the kept activations are solved with


def ridge_leverage(second_moment: Array, count: int) -> Array:
    """How much each neuron (m,) counts for the `count` best directions: the diagonal of S (S + r)^-1.

    The ridge r is the energy beyond those directions over their number, with which scores add up to at most
    twice as many (Cohen, Musco and Musco, arXiv 1511.07263).

    Args:
        second_moment: S.
        count: n, at least 1.
    """
    values, vectors = np.linalg.eigh(second_moment)
    values = np.maximum(values, 0.0)  # ascending
    ridge = values[: len(values) - count].sum() / count
    shares = np.divide(values, values + ridge, out=np.zeros_like(values), where=values > 0)
    leverage: Array = (vectors**2) @ shares
    return leverage


def keep_by_leverage(second_moment: Array, width: int) -> Units:
    """Keep the `width` neurons with the largest ridge leverage, and predict the others from all of them.

    a ~ a_K S_KK^-1 S_K., the best linear prediction, which the writer absorbs; kept neurons stay as they are.

    Args:
        second_moment: S.
        width: n, at most m.
    """
    kept = largest(ridge_leverage(second_moment, width), width)
    if width == len(second_moment):
        return Units(kept)
    selection = np.eye(len(second_moment))[:, kept]
    inner = second_moment[np.ix_(kept, kept)]
    inner = inner + _FLOOR * max(float(np.diag(second_moment).mean()), 1e-300) * np.eye(width)
    expand: Array = scipy.linalg.solve(inner, second_moment[kept], assume_a="pos")
    expand[:, kept] = np.eye(width)
    return Units(kept, Merge(selection, selection, expand))
