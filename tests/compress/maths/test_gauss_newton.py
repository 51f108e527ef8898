"""The step on gate and up against what autograd says about the same squared error."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.testing import assert_close

from dotresize.compress.maths.gauss_newton import (
    add_line_rows,
    add_step_rows,
    directions,
    empty_line_sums,
    empty_step_sums,
    lengths,
    neurons_of,
)

CPU = torch.device("cpu")


class Problem(NamedTuple):
    """A small MLP, rows, a target and row weights."""

    x: Tensor
    gate: Tensor
    up: Tensor
    down: Tensor
    target: Tensor
    weights: Tensor

    def error(self, gate: Tensor, up: Tensor) -> Tensor:
        inner = functional.silu(self.x @ gate.T) * (self.x @ up.T)
        return self.target - inner @ self.down.T

    def loss(self, gate: Tensor, up: Tensor) -> Tensor:
        return (self.error(gate, up).square().sum(-1) * self.weights).sum()


@pytest.fixture
def problem() -> Problem:
    """A target that another gate and up produce, so that the error can fall."""
    generator = torch.Generator().manual_seed(5)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    x, gate, up, down = normal(300, 6), normal(10, 6), normal(10, 6), normal(6, 10)
    weights = torch.rand(300, generator=generator) + 0.1
    problem = Problem(x, gate, up, down, torch.zeros(300, 6), weights)
    target = -problem.error(gate + 0.2 * normal(10, 6), up + 0.2 * normal(10, 6))
    return problem._replace(target=target)


def _directions(problem: Problem) -> tuple[Tensor, Tensor]:
    sums = empty_step_sums(6, 10, CPU)
    for rows in (slice(0, 120), slice(120, 300)):
        neurons = neurons_of(
            problem.x[rows] @ problem.gate.T, problem.x[rows] @ problem.up.T, functional.silu
        )
        error = problem.error(problem.gate, problem.up)[rows]
        add_step_rows(sums, problem.x[rows], neurons, error, problem.weights[rows], problem.down)
    gate, up = problem.gate.clone().requires_grad_(), problem.up.clone().requires_grad_()
    slopes = torch.autograd.grad(problem.loss(gate, up), (gate, up))
    for gradient, slope in zip(sums.gradients, slopes, strict=True):
        assert_close(gradient, -slope / 2, atol=1e-3, rtol=1e-4)
    by_gate, by_up = directions(sums, problem.down, damping=0.1)
    return by_gate, by_up


def test_gradients_are_autograds_and_the_step_lowers_the_error(problem: Problem) -> None:
    moves = _directions(problem)
    line = empty_line_sums(CPU)
    neurons = neurons_of(problem.x @ problem.gate.T, problem.x @ problem.up.T, functional.silu)
    error = problem.error(problem.gate, problem.up)
    add_line_rows(line, problem.x, neurons, error, problem.weights, problem.down, moves)
    by_gate, by_up = lengths(line)
    before = problem.loss(problem.gate, problem.up)
    after = problem.loss(problem.gate + by_gate * moves[0], problem.up + by_up * moves[1])
    assert after < 0.6 * before

    by_up_slope = neurons.by_up
    assert by_up_slope is not None

    def linearised(gate_length: Tensor, up_length: Tensor) -> Tensor:
        moved = (
            neurons.by_gate * (problem.x @ moves[0].T) * gate_length
            + by_up_slope * (problem.x @ moves[1].T) * up_length
        )
        return ((error - moved @ problem.down.T).square().sum(-1) * problem.weights).sum()

    found = torch.tensor(by_gate, requires_grad=True), torch.tensor(by_up, requires_grad=True)
    flat = torch.autograd.grad(linearised(*found), found)
    assert max(abs(float(slope)) for slope in flat) < 1e-3 * float(before)


def test_an_exact_mlp_stays_where_it_is(problem: Problem) -> None:
    exact = problem._replace(target=torch.zeros_like(problem.target))
    exact = exact._replace(target=-exact.error(exact.gate, exact.up))
    moves = _directions(exact)
    line = empty_line_sums(CPU)
    neurons = neurons_of(exact.x @ exact.gate.T, exact.x @ exact.up.T, functional.silu)
    error = exact.error(exact.gate, exact.up)
    add_line_rows(line, exact.x, neurons, error, exact.weights, exact.down, moves)
    assert lengths(line) == (0.0, 0.0)
