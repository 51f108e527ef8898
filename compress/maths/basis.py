"""One orthonormal basis for the whole residual stream. Pure; float64 throughout.

Shapes: d hidden size, k new hidden size. S (d, d) is the second moment of the normalised residual
stream, averaged over all norm sites. A hidden state is a row: h (d,) becomes h Q (k,).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..record.config import Method
from .guards import factorising
from .transport import TransportMap, activation_cost, solve_transport
from .zero_sum import zero_sum_basis, zero_sum_frame

__all__ = ["Basis", "residual_basis"]

Array = NDArray[np.float64]


class Basis(NamedTuple):
    """Q and the matrix that maps back."""

    project: Array  # Q (d, k), orthonormal columns
    expand: Array  # (k, d); for a transport map T = QR it is R T^+ (Theorem 2.1), else Q^T
    transport: TransportMap | None


def residual_basis(
    second_moment: Array, width: int, *, method: Method, reg: float, signed: bool, zero_sum: bool = False
) -> Basis:
    """Find Q by the named method.

    `magnitude` keeps the neurons with the largest activation energy; `pca` the leading principal
    directions; `dot` transports all neurons onto the kept ones and orthonormalises (paper section
    2 and Theorem 2.1); `pca+dot` does the same in principal coordinates.

    Args:
        second_moment: S, (d, d).
        width: k.
        method: see above.
        reg: entropic regularisation of the transport.
        signed: let a neuron merge with the negative of another.
        zero_sum: for LayerNorm models, whose streams matter up to their mean: Q is then an isometry between
            the rows of sum zero of both widths, of rank k - 1, so that the narrow rows sum to zero as well
            and a stock LayerNorm takes nothing more away.
    """
    if zero_sum:
        frame = zero_sum_frame(len(second_moment))
        found = _find(frame.T @ second_moment @ frame, width - 1, method, reg, signed)
        project, expand = zero_sum_basis(found.project), zero_sum_basis(found.expand.T).T
        transport = found.transport
    else:
        project, expand, transport = _find(second_moment, width, method, reg, signed)
    # one memory layout, so that a basis read back from disk gives the same bytes downstream
    return Basis(np.ascontiguousarray(project), np.ascontiguousarray(expand), transport)


def _find(second_moment: Array, width: int, method: Method, reg: float, signed: bool) -> Basis:
    if method == "magnitude":
        return _orthonormal(np.eye(len(second_moment))[:, largest(np.diag(second_moment), width)])
    if method == "pca":
        return _orthonormal(_principal_directions(second_moment)[:, :width])
    if method == "dot":
        return _transport_basis(second_moment, width, reg=reg, signed=signed)
    rotation = _principal_directions(second_moment)
    rotated = _transport_basis(rotation.T @ second_moment @ rotation, width, reg=reg, signed=signed)
    return Basis(rotation @ rotated.project, rotated.expand @ rotation.T, rotated.transport)


def largest(values: Array, count: int) -> NDArray[np.int64]:
    """Indices of the `count` largest values, in index order; ties go to the lower index."""
    return np.sort(np.argsort(-values, kind="stable")[:count])


def _orthonormal(columns: Array) -> Basis:
    return Basis(columns, columns.T, None)


def _principal_directions(second_moment: Array) -> Array:
    """Eigenvectors (d, d), largest eigenvalue first, each with its largest entry positive."""
    with factorising("the second moment of the residual stream"):
        vectors: Array = np.linalg.eigh(second_moment)[1][:, ::-1]
    peak = np.abs(vectors).argmax(axis=0)
    signed: Array = vectors * np.sign(vectors[peak, np.arange(len(peak))])
    return signed


def _transport_basis(second_moment: Array, width: int, *, reg: float, signed: bool) -> Basis:
    kept = largest(np.diag(second_moment), width)
    cost, sign = activation_cost(second_moment, kept, signed=signed)
    transport = solve_transport(cost, sign, reg=reg)
    with factorising("the transport map"):
        project, triangular = np.linalg.qr(transport.matrix)  # T = QR, (d, k) and (k, k)
    return Basis(project, triangular @ np.linalg.pinv(transport.matrix), transport)
