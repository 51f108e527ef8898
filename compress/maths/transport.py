"""Discrete optimal transport between neurons (DOTResize, section 2). Pure; results are float64.

Shapes: d neurons, k kept neurons. S is the second-moment matrix of the activations, (d, d).
"""

import warnings
from typing import NamedTuple

import numpy as np
import ot
import torch
from numpy.typing import NDArray

from ...errors import ConvergenceError

__all__ = ["TransportMap", "activation_cost", "solve_transport"]

Array = NDArray[np.float64]

MARGINAL_TOLERANCE = 1e-6  # L1, against a total mass of 1
MAX_ITERATIONS = 10_000


class TransportMap(NamedTuple):
    """A transport plan and how well it was solved."""

    plan: Array  # (d, k), non-negative, sums to 1
    sign: Array  # (d, k), +1 or -1
    cost: float  # <plan, cost> on the scaled cost
    marginal_error: float  # L1 distance of both marginals from what was asked
    iterations: int

    @property
    def matrix(self) -> Array:
        """T (d, k): the plan with columns normalised to sum to 1, signed. Paper section 2."""
        columns: Array = self.plan.sum(axis=0, keepdims=True)
        return self.sign * (self.plan / columns)


def activation_cost(second_moment: Array, kept: NDArray[np.int64], *, signed: bool) -> tuple[Array, Array]:
    """Distance between every neuron's activations and every kept neuron's.

    C_ij = sqrt(S_ii + S_jj - 2 S_ij) needs the second moments only. With `signed` the last term is
    |S_ij|, so that a neuron is as close to the negative of another as to a copy of it.

    Args:
        second_moment: S, (d, d).
        kept: indices of the kept neurons, (k,).
        signed: align signs.

    Returns:
        cost (d, k), and sign (d, k) of the merge, +1 everywhere unless `signed`.
    """
    energy = np.diag(second_moment)
    inner = second_moment[:, kept]
    sign = np.where(inner < 0, -1.0, 1.0) if signed else np.ones_like(inner)
    squared = energy[:, None] + energy[None, kept] - 2.0 * sign * inner
    return np.sqrt(np.maximum(squared, 0.0)), sign


def solve_transport(
    cost: Array,
    sign: Array,
    *,
    reg: float,
    source_mass: Array | None = None,
    target_mass: Array | None = None,
) -> TransportMap:
    """Optimal transport plan from d neurons to k kept ones, by POT.

    Args:
        cost: (d, k), any non-negative scale; it is divided by its maximum.
        sign: (d, k), carried along.
        reg: entropic regularisation (lambda of the paper) for log-domain Sinkhorn; 0 solves exactly.
        source_mass: (d,) summing to 1; uniform by default, as in the paper.
        target_mass: (k,) summing to 1; uniform by default.

    Raises:
        ConvergenceError: the marginals are off by more than 1e-6 when the solver stops.
    """
    rows, columns = cost.shape
    source = np.full(rows, 1.0 / rows) if source_mass is None else source_mass
    target = np.full(columns, 1.0 / columns) if target_mass is None else target_mass
    scaled = cost / max(float(cost.max()), 1e-300)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # POT warns; we check the marginals ourselves
        if reg == 0.0:
            plan, log = ot.emd(source, target, scaled, numItermax=10_000_000, log=True)
            iterations = 0
        else:
            plan, iterations = _sinkhorn(source, target, scaled, reg)
    error = float(np.abs(plan.sum(1) - source).sum() + np.abs(plan.sum(0) - target).sum())
    if not error <= MARGINAL_TOLERANCE:
        raise ConvergenceError(
            f"the transport stopped after {iterations} iterations, its marginals off by {error:.1e} "
            f"(tolerance {MARGINAL_TOLERANCE:.0e}); "
            f"raise --reg (now {reg}), or use --reg 0 for the exact solver."
        )
    return TransportMap(plan, sign, float((plan * scaled).sum()), error, iterations)


def _sinkhorn(source: Array, target: Array, cost: Array, reg: float) -> tuple[Array, int]:
    """Entropic plan and iterations: float32, which is twice as fast, as far as it goes, then float64.

    POT computes with whatever it is given: torch's logsumexp is several times faster than SciPy's.
    """
    potentials, iterations = None, 0
    for dtype, most, tolerance in ((torch.float32, 500, 1e-6), (torch.float64, MAX_ITERATIONS, 1e-9)):
        tensors = [torch.from_numpy(array).to(dtype) for array in (source, target, cost)]
        plan, log = ot.bregman.sinkhorn_log(
            *tensors, reg, numItermax=most, stopThr=tolerance, log=True, warmstart=potentials
        )
        iterations += int(log["niter"]) + 1
        found = log["log_u"].double(), log["log_v"].double()
        potentials = found if all(bool(part.isfinite().all()) for part in found) else None
    return plan.numpy(), iterations
