"""Oracles: POT's exact solver, the prescribed marginals, and cases solved by hand."""

import numpy as np
import ot
import pytest
from numpy.testing import assert_allclose

from dotresize.compress.maths.transport import activation_cost, solve_transport
from dotresize.errors import ConvergenceError


@pytest.fixture
def second_moment() -> np.ndarray:
    activations = np.random.default_rng(0).normal(size=(200, 12))
    return activations.T @ activations / 200


def test_cost_is_the_distance_between_activations() -> None:
    activations = np.random.default_rng(1).normal(size=(50, 6))
    kept = np.array([0, 3])
    cost, sign = activation_cost(activations.T @ activations, kept, signed=False)
    expected = np.linalg.norm(activations[:, :, None] - activations[:, None, kept], axis=0)
    # the difference of nearly equal squares on the diagonal costs half of float64's digits
    assert_allclose(cost, expected, atol=1e-6)
    assert (sign == 1).all()


def test_signed_cost_finds_the_negative_of_a_neuron() -> None:
    rng = np.random.default_rng(2)
    first = rng.normal(size=100)
    activations = np.stack([first, -first, rng.normal(size=100)], axis=1)
    cost, sign = activation_cost(activations.T @ activations, np.array([0]), signed=True)
    assert_allclose(cost[1, 0], 0.0, atol=1e-6)
    assert sign[1, 0] == -1
    assert activation_cost(activations.T @ activations, np.array([0]), signed=False)[0][1, 0] > 1


def test_exact_plan_costs_what_pot_says(second_moment: np.ndarray) -> None:
    cost, sign = activation_cost(second_moment, np.arange(5), signed=False)
    solved = solve_transport(cost, sign, reg=0.0)
    scaled = cost / cost.max()
    assert_allclose(solved.cost, ot.emd2(np.full(12, 1 / 12), np.full(5, 1 / 5), scaled), rtol=1e-9)


def test_entropic_plan_approaches_the_exact_one(second_moment: np.ndarray) -> None:
    cost, sign = activation_cost(second_moment, np.arange(5), signed=False)
    exact = solve_transport(cost, sign, reg=0.0).cost
    costs = [solve_transport(cost, sign, reg=reg).cost for reg in (1.0, 0.1, 0.01)]
    assert costs == sorted(costs, reverse=True)
    # entropy adds at most reg * log(number of cells) to the cost
    assert exact <= costs[-1] <= exact + 0.01 * np.log(60)


@pytest.mark.parametrize("reg", [0.005, 0.1])
def test_a_start_in_float32_ends_at_the_plan_of_float64(second_moment: np.ndarray, reg: float) -> None:
    cost, sign = activation_cost(second_moment, np.arange(5), signed=False)
    solved = solve_transport(cost, sign, reg=reg)
    rows, columns = np.full(12, 1 / 12), np.full(5, 1 / 5)
    expected = ot.bregman.sinkhorn_log(
        rows, columns, cost / cost.max(), reg, numItermax=100_000, stopThr=1e-14
    )
    assert_allclose(solved.plan, expected, atol=1e-8)


@pytest.mark.parametrize("reg", [0.0, 0.01, 0.1])
def test_marginals_hold_for_any_mass(second_moment: np.ndarray, reg: float) -> None:
    rng = np.random.default_rng(3)
    source, target = rng.uniform(0.1, 1, 12), rng.uniform(0.1, 1, 5)
    source, target = source / source.sum(), target / target.sum()
    cost, sign = activation_cost(second_moment, np.arange(5), signed=True)
    solved = solve_transport(cost, sign, reg=reg, source_mass=source, target_mass=target)
    assert_allclose(solved.plan.sum(1), source, atol=1e-6)
    assert_allclose(solved.plan.sum(0), target, atol=1e-6)
    assert solved.marginal_error <= 1e-6


def test_columns_of_the_map_are_convex_combinations(second_moment: np.ndarray) -> None:
    cost, sign = activation_cost(second_moment, np.arange(5), signed=True)
    matrix = solve_transport(cost, sign, reg=0.05).matrix
    assert_allclose(np.abs(matrix).sum(0), 1.0, rtol=1e-12)


def test_transport_onto_all_neurons_is_the_identity(second_moment: np.ndarray) -> None:
    cost, sign = activation_cost(second_moment, np.arange(12), signed=True)
    assert_allclose(solve_transport(cost, sign, reg=0.0).matrix, np.eye(12), atol=1e-12)


def test_equal_neurons_have_zero_cost_everywhere() -> None:
    cost, sign = activation_cost(np.ones((4, 4)), np.array([0, 1]), signed=False)
    assert_allclose(solve_transport(cost, sign, reg=0.01).plan, np.full((4, 2), 1 / 8), atol=1e-9)


def test_a_plan_that_did_not_converge_is_refused(second_moment: np.ndarray) -> None:
    cost, sign = activation_cost(second_moment, np.arange(5), signed=False)
    with pytest.raises(ConvergenceError, match=r"raise --reg \(now 1e-07\)"):
        solve_transport(cost, sign, reg=1e-7)


def test_one_neuron_with_a_huge_activation_does_not_break_the_solver() -> None:
    """Real MLPs have such neurons; all other scaled costs are then close to each other."""
    rng = np.random.default_rng(4)
    activations = rng.normal(size=(500, 60))
    activations[:, 7] *= 1000
    cost, sign = activation_cost(activations.T @ activations / 500, np.arange(40), signed=False)
    assert solve_transport(cost, sign, reg=0.01).marginal_error <= 1e-6
