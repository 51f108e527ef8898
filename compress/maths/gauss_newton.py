"""One Gauss-Newton step on the gate and up rows of a gated MLP (METHOD, neuron fit). Pure.

The output of the narrow MLP is a D^T with a = act(x G^T + b) * (x U^T + c). The writer fit is linear in D.
Here G and U move as well, towards the same target. The curvature of the squared error is approximated
by one Kronecker product for each of the two matrices (Martens and Grosse, arXiv 1503.05671), which
gives a direction; the length of both is then exact for the linearised output.

Shapes: n tokens, k hidden size, m neurons. x (n, k); gate and up and their directions (m, k); down D (k, m).
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from .guards import factorising

__all__ = [
    "LineSums",
    "Neurons",
    "StepSums",
    "add_line_rows",
    "add_step_rows",
    "directions",
    "empty_line_sums",
    "empty_step_sums",
    "lengths",
    "neurons_of",
]


class Neurons(NamedTuple):
    """Inner activations and how they change with what enters them; each (n, m)."""

    value: Tensor  # act(gate) * up; without an up, act(gate)
    by_gate: Tensor  # act'(gate) * up
    by_up: Tensor | None  # act(gate)

    @property
    def slopes(self) -> tuple[Tensor, ...]:
        """By gate, and by up where there is one."""
        return (self.by_gate,) if self.by_up is None else (self.by_gate, self.by_up)


class StepSums(NamedTuple):
    """Sums over rows that give the directions; gate first, then up where there is one."""

    inputs: Tensor  # (k, k) x^T x
    gradients: tuple[Tensor, ...]  # (m, k) minus half the gradient of the squared error
    curvatures: tuple[Tensor, ...]  # (m, m)


class LineSums(NamedTuple):
    """Sums over rows that give the lengths."""

    hessian: Tensor  # (2, 2) float64; (1, 1) without an up
    slope: Tensor  # (2,) float64


def neurons_of(gate: Tensor, up: Tensor | None, activation: Callable[[Tensor], Tensor]) -> Neurons:
    """Activations and derivatives from what the gate and up matrices give, (n, m) each."""
    with torch.enable_grad():
        leaf = gate.detach().requires_grad_()
        activated = activation(leaf)
        (slope,) = torch.autograd.grad(activated.sum(), leaf)
    activated = activated.detach()
    if up is None:
        return Neurons(activated, slope, None)
    return Neurons(activated * up, slope * up, activated)


def empty_step_sums(hidden: int, inner: int, device: torch.device, matrices: int = 2) -> StepSums:
    """Sums over no rows, float32, for gate and up, or for one matrix."""

    def zeros(rows: int, columns: int) -> tuple[Tensor, ...]:
        return tuple(torch.zeros(rows, columns, device=device) for _ in range(matrices))

    return StepSums(torch.zeros(hidden, hidden, device=device), zeros(inner, hidden), zeros(inner, inner))


def add_step_rows(
    sums: StepSums,
    x: Tensor,
    neurons: Neurons,
    error: Tensor,
    weights: Tensor,
    down: Tensor,
    *,
    curvature: bool = True,
) -> None:
    """Add rows, in place. Its length is found later, so the curvature may come from a part of the rows.

    Args:
        sums: where to add.
        x: (n, k) what the gate and up matrices read.
        neurons: of these rows.
        error: (n, k) target minus output.
        weights: (n,) weight of each row's squared error.
        down: (k, m).
        curvature: add to the curvatures, not to the gradients alone.
    """
    pull = (error * weights[:, None]) @ down  # (n, m)
    for slope, gradient in zip(neurons.slopes, sums.gradients, strict=True):
        gradient.addmm_((pull * slope).T, x)
    if curvature:
        root = weights.sqrt()[:, None]
        sums.inputs.addmm_(x.T, x)
        for slope, total in zip(neurons.slopes, sums.curvatures, strict=True):
            scaled = slope * root
            total.addmm_(scaled.T, scaled)


def directions(sums: StepSums, down: Tensor, damping: float) -> tuple[Tensor, ...]:
    """Directions (m, k) of gate and up: curvature^-1 gradient inputs^-1, both factors damped; float32.

    Args:
        sums: over all rows.
        down: (k, m).
        damping: added to each factor's diagonal, as a fraction of its mean; above 0.
    """
    overlap = down.T @ down  # (m, m): neurons that write the same direction compete
    inputs = _damped_cholesky(sums.inputs, damping)

    def direction(gradient: Tensor, curvature: Tensor) -> Tensor:
        half: Tensor = torch.cholesky_solve(gradient, _damped_cholesky(curvature * overlap, damping))
        whole: Tensor = torch.cholesky_solve(half.T, inputs)
        return whole.mT

    return tuple(map(direction, sums.gradients, sums.curvatures))


def _damped_cholesky(matrix: Tensor, damping: float) -> Tensor:
    strength = (damping * matrix.diagonal().mean()).clamp_min(1e-30)
    damped = matrix.clone()
    damped.diagonal().add_(strength)
    with factorising("the curvature of a neuron fit"):
        factor: Tensor = torch.linalg.cholesky(damped)
    return factor


def empty_line_sums(device: torch.device, matrices: int = 2) -> LineSums:
    """Sums over no rows."""
    hessian = torch.zeros(matrices, matrices, dtype=torch.float64, device=device)
    return LineSums(hessian, torch.zeros(matrices, dtype=torch.float64, device=device))


def add_line_rows(
    sums: LineSums,
    x: Tensor,
    neurons: Neurons,
    error: Tensor,
    weights: Tensor,
    down: Tensor,
    moves: tuple[Tensor, ...],
) -> None:
    """Add rows, in place: how the output moves along the directions of gate and up, against the error."""
    root = weights.sqrt()[:, None]
    moved = [
        (((slope * (x @ move.T)) @ down.T) * root).flatten()
        for slope, move in zip(neurons.slopes, moves, strict=True)
    ]
    both = torch.stack(moved)  # (2, n k)
    sums.hessian.add_(both @ both.T)
    sums.slope.add_(both @ (error * root).flatten())


def lengths(sums: LineSums) -> tuple[float, ...]:
    """How far to go along the directions of gate and up: the minimum of the linearised squared error."""
    floor = 1e-9 * sums.hessian.diagonal().sum().clamp_min(1e-30)
    solved = torch.linalg.solve(
        sums.hessian + floor * torch.eye(len(sums.slope)).to(sums.hessian), sums.slope
    )
    return tuple(float(value) for value in solved.nan_to_num(0.0, 0.0, 0.0))
