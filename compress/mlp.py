"""Fewer neurons in a gated MLP: a = act(gate) * up. Pure; float64 throughout.

Shapes: m neurons, k kept neurons. S (m, m) is the second moment of the inner activations a.
"""

from typing import NamedTuple

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from .basis import largest
from .config import Mass
from .transport import TransportMap, activation_cost, solve_transport

__all__ = ["NeuronMap", "keep_neurons", "output_energy", "pseudo_inverse", "transport_neurons"]

Array = NDArray[np.float64]

WORST_GRAM = 1e-6  # reciprocal condition of T^T T: the inverse then has ten correct digits


class NeuronMap(NamedTuple):
    """How old neurons become new ones."""

    gate: Array  # (m, k) new gate row j is the mixture gate[:, j] of old gate rows
    up: Array  # (m, k) the same for up rows
    expand: Array  # (k, m) old activations from new ones: a ~ a' expand, before any fit
    transport: TransportMap | None


def output_energy(activation_energy: Array, writer_column_energy: Array) -> Array:
    """Energy (m,) that each neuron adds to the residual stream: E[a_i^2] * ||W_down[:, i]||^2."""
    return activation_energy * writer_column_energy


def keep_neurons(score: Array, width: int) -> NeuronMap:
    """Keep the `width` neurons with the largest score (m,), drop the rest."""
    selection = np.eye(len(score))[:, largest(score, width)]
    return NeuronMap(selection, selection, selection.T, None)


def transport_neurons(
    second_moment: Array, score: Array, width: int, *, reg: float, signed: bool, mass: Mass
) -> NeuronMap:
    """Merge all neurons onto the `width` best ones by optimal transport of their activations.

    With `mass="energy"` both marginals follow the score, so a kept neuron needs to receive little and
    stays close to itself; uniform mass (the paper) makes every kept neuron take m / k neurons' mass.
    A negative match flips the sign of the up row only: the gate passes through the nonlinearity.

    Args:
        second_moment: S, (m, m).
        score: (m,) non-negative importance.
        width: k.
        reg: entropic regularisation, 0 for the exact plan.
        signed: let a neuron merge with the negative of another.
        mass: marginals of the transport.
    """
    kept = largest(score, width)
    cost, sign = activation_cost(second_moment, kept, signed=signed)
    masses: dict[str, Array] = {}
    if mass == "energy":
        floor = score + 1e-6 * score.mean()
        masses = {"source_mass": floor / floor.sum(), "target_mass": floor[kept] / floor[kept].sum()}
    transport = solve_transport(cost, sign, reg=reg, **masses)
    mixture = transport.matrix
    return NeuronMap(np.abs(mixture), mixture, pseudo_inverse(mixture), transport)


def pseudo_inverse(matrix: Array) -> Array:
    """Moore-Penrose inverse (k, m) of (m, k): (T^T T)^-1 T^T where that is well conditioned, else by SVD.

    LAPACK's divide-and-conquer SVD gives up on some matrices with many equal singular values, depending on
    the build and the number of threads; the slower QR iteration then takes over.
    """
    gram = matrix.T @ matrix
    factor, failed = scipy.linalg.lapack.dpotrf(gram)
    if not failed:
        reciprocal_condition, _ = scipy.linalg.lapack.dpocon(factor, np.linalg.norm(gram, 1))
        if reciprocal_condition > WORST_GRAM:
            solved: Array = scipy.linalg.cho_solve((factor, False), matrix.T)
            return solved
    try:
        left, values, right = scipy.linalg.svd(matrix, full_matrices=False)
    except np.linalg.LinAlgError:
        left, values, right = scipy.linalg.svd(matrix, full_matrices=False, lapack_driver="gesvd")
    smallest = max(matrix.shape) * np.finfo(np.float64).eps * values[0]
    inverse = np.divide(1.0, values, out=np.zeros_like(values), where=values > smallest)
    result: Array = (right.T * inverse) @ left.T
    return result
