"""Fewer inner units of a sublayer: neurons of an MLP, or key-value groups of an attention.

Units are kept by index, or merged by a mixture. Pure; scores and transport in float64.

Shapes: m units, n kept units. S (m, m) is the second moment of the inner activations a.
"""

from typing import NamedTuple

import numpy as np
import scipy.linalg
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..families.canonical import Matrix
from ..families.family import Site
from ..families.shape import unit_size
from ..maths.basis import largest
from ..maths.transport import activation_cost, solve_transport
from ..record.config import Mass
from ..record.report import Widths

__all__ = [
    "Array",
    "Chosen",
    "Merge",
    "Units",
    "group_energy",
    "keep_units",
    "merge_neurons",
    "output_energy",
    "pseudo_inverse",
    "take_columns",
    "take_experts",
    "take_rows",
    "transport_outputs",
]

Array = NDArray[np.float64]

WORST_GRAM = 1e-6  # reciprocal condition of T^T T: the inverse then has ten correct digits


class Merge(NamedTuple):
    """How old neurons become new ones."""

    gate: Array  # (m, n) new gate row j is the mixture gate[:, j] of old gate rows
    up: Array  # (m, n) the same for up rows
    expand: Array  # (n, m) old activations from new ones: a ~ a' expand, before any fit


class Units(NamedTuple):
    """Which units stay, and how all of them become these where they are merged."""

    kept: NDArray[np.int64]  # (n,) ascending
    merge: Merge | None = None


class Chosen(NamedTuple):
    """What stays of a sublayer."""

    experts: tuple[int, ...]  # numbers of the dense experts that stay, ascending; (0,) in a sublayer without
    units: dict[int, Units]  # of each dense expert whose units do not all stay


def output_energy(activation_energy: Array, writer_column_energy: Array) -> Array:
    """Energy (m,) that each neuron adds to the residual stream: E[a_i^2] * ||W_down[:, i]||^2."""
    return activation_energy * writer_column_energy


def group_energy(second_moment: Array, writer: Array, groups: int) -> Array:
    """Energy (groups,) that each block of inner columns adds to the stream: tr(W_g S_gg W_g^T).

    Args:
        second_moment: (i, i) of what the writer reads; i is groups times the columns of one group.
        writer: (d, i).
        groups: number of blocks.
    """
    size = len(second_moment) // groups
    blocks = [slice(group * size, (group + 1) * size) for group in range(groups)]
    return np.array(
        [np.sum(writer[:, block] @ second_moment[block, block] * writer[:, block]) for block in blocks]
    )


def keep_units(score: Array, count: int) -> Units:
    """Keep the `count` units with the largest score (m,), drop the rest."""
    return Units(largest(score, count))


def merge_neurons(
    second_moment: Array, score: Array, width: int, *, reg: float, signed: bool, mass: Mass
) -> Units:
    """Merge all neurons onto the `width` best ones by optimal transport of their activations.

    With `mass="energy"` both marginals follow the score, so a kept neuron needs to receive little and
    stays close to itself; uniform mass (the paper) makes every kept neuron take m / n neurons' mass.
    A negative match flips the sign of the up row only: the gate passes through the nonlinearity.

    Args:
        second_moment: S, (m, m).
        score: (m,) non-negative importance.
        width: n.
        reg: entropic regularisation, 0 for the exact plan.
        signed: let a neuron merge with the negative of another; needs an up row.
        mass: marginals of the transport.
    """
    kept = largest(score, width)
    cost, sign = activation_cost(second_moment, kept, signed=signed)
    masses: dict[str, Array] = {}
    if mass == "energy":
        floor = score + 1e-6 * score.mean()
        masses = {"source_mass": floor / floor.sum(), "target_mass": floor[kept] / floor[kept].sum()}
    mixture = solve_transport(cost, sign, reg=reg, **masses).matrix
    return Units(kept, Merge(np.abs(mixture), mixture, pseudo_inverse(mixture)))


def transport_outputs(second_moment: Array, score: Array, width: int, *, reg: float) -> Units:
    """Keep the `width` best neurons as they are, and transport what the dropped ones wrote onto them.

    The cost is what a kept neuron leaves unexplained of a dropped one, 1 - S_ij^2 / (S_ii S_jj). Both
    marginals follow the score, so that no kept neuron has to stand in for much more than itself. A dropped
    activation becomes the mean, by its row of the plan, of its best predictions S_ij / S_jj a_j. Each of
    these errs less than dropping it, and so does their mean, because the squared error is convex.

    Args:
        second_moment: S, (m, m).
        score: (m,) non-negative importance.
        width: n, at most m.
        reg: entropic regularisation, 0 for the exact plan.
    """
    kept = largest(score, width)
    dropped = np.setdiff1d(np.arange(len(score)), kept)
    if not len(dropped):
        return Units(kept)
    energy = np.maximum(np.diag(second_moment), 1e-300)
    inner = second_moment[np.ix_(dropped, kept)]
    explained = inner**2 / (energy[dropped, None] * energy[None, kept])
    source, target = (_share(score[some]) for some in (dropped, kept))
    plan = solve_transport(
        np.clip(1.0 - explained, 0.0, 1.0),
        np.where(inner < 0, -1.0, 1.0),
        reg=reg,
        source_mass=source,
        target_mass=target,
    )
    rows = plan.plan / plan.plan.sum(axis=1, keepdims=True)
    selection = np.eye(len(score))[:, kept]
    expand = selection.T.copy()
    expand[:, dropped] = (rows * inner / energy[None, kept]).T
    return Units(kept, Merge(selection, selection, expand))


def _share(score: Array) -> Array:
    """Masses in proportion to a score, none of them zero."""
    mass = score + 1e-6 * max(float(score.mean()), 1e-300)
    shares: Array = mass / mass.sum()
    return shares


def take_experts(router: Matrix, experts: tuple[int, ...]) -> Matrix:
    """The rows (experts, d) of the experts that stay."""
    rows = list(experts)
    return Matrix(router.weight[rows], None if router.bias is None else router.bias[rows])


def take_rows(matrix: Matrix, site: Site, units: Units | None, widths: Widths) -> Matrix:
    """The new units' rows of a reader (i, d) and of its bias.

    Args:
        matrix: of the dense site.
        site: which one.
        units: None keeps all.
        widths: of the dense model.
    """
    if units is None:
        return matrix
    weight, bias = matrix
    if units.merge is not None:
        mixture = torch.from_numpy(units.merge.gate if site.role == "gate" else units.merge.up).to(weight)
        return Matrix(mixture.T @ weight, None if bias is None else bias @ mixture)
    rows = _rows(site, units, widths).to(weight.device)
    return Matrix(weight[rows], None if bias is None else bias[rows])


def take_columns(weight: Tensor, site: Site, units: Units | None, widths: Widths) -> Tensor:
    """The new units' columns of a writer (d, i), before any fit."""
    if units is None:
        return weight
    if units.merge is not None:
        return weight @ torch.from_numpy(units.merge.expand).to(weight).T
    return weight[:, _rows(site, units, widths).to(weight.device)]


def _rows(site: Site, units: Units, widths: Widths) -> Tensor:
    size = unit_size(site.inner, widths)
    return (torch.from_numpy(units.kept)[:, None] * size + torch.arange(size)).flatten()


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
