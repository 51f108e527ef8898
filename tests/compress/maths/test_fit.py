"""Oracles: torch.linalg.lstsq, the prior's error as an upper bound, exact priors."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.testing import assert_close

from dotresize.compress.maths.fit import Sums, add_rows, empty_sums, relative_error, ridge_solve


def problem(seed: int, rows: int = 60, inputs: int = 7, outputs: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, inputs, generator=generator, dtype=torch.float64)
    return x, x @ torch.randn(inputs, outputs, generator=generator, dtype=torch.float64) + torch.randn(
        rows, outputs, generator=generator, dtype=torch.float64
    )


def sums_of(x: Tensor, y: Tensor, weights: Tensor | None = None) -> Sums:
    sums = empty_sums(x.shape[1], y.shape[1], torch.device("cpu"))
    for part in torch.arange(len(x)).split(13):  # streamed in uneven batches
        add_rows(sums, x[part], y[part], None if weights is None else weights[part])
    return sums


def test_without_ridge_it_is_least_squares() -> None:
    x, y = problem(0)
    solution = ridge_solve(sums_of(x, y), torch.zeros(7, 4), ridge=0.0)
    assert_close(solution, torch.linalg.lstsq(x, y).solution, rtol=1e-8, atol=1e-8)


def test_weights_scale_each_rows_squared_error() -> None:
    x, y = problem(1)
    weights = torch.rand(len(x), dtype=torch.float64) + 0.1
    root = weights.sqrt()[:, None]
    solution = ridge_solve(sums_of(x, y, weights), torch.zeros(7, 4), ridge=0.0)
    assert_close(solution, torch.linalg.lstsq(x * root, y * root).solution, rtol=1e-8, atol=1e-8)


def test_a_strong_ridge_returns_the_prior() -> None:
    x, y = problem(2)
    prior = torch.randn(7, 4, dtype=torch.float64)
    assert_close(ridge_solve(sums_of(x, y), prior, ridge=1e12), prior, rtol=1e-6, atol=1e-6)


def test_an_exact_prior_stays_exact_even_with_dead_inputs() -> None:
    x, _ = problem(3)
    x[:, 2] = 0.0
    prior = torch.randn(7, 4, dtype=torch.float64)
    sums = sums_of(x, x @ prior)
    assert_close(ridge_solve(sums, prior, ridge=1e-3), prior, rtol=1e-10, atol=1e-10)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), ridge=st.floats(0.0, 10.0), rows=st.integers(1, 80))
def test_a_fit_never_raises_the_error_of_its_prior(seed: int, ridge: float, rows: int) -> None:
    x, y = problem(seed, rows=rows)
    prior = torch.randn(7, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    sums = sums_of(x, y)
    # 1e-9: both errors are differences of sums, exact to about 1e-13 of the energy
    assert relative_error(sums, ridge_solve(sums, prior, ridge)) <= relative_error(sums, prior) + 1e-9


def test_relative_error_matches_its_definition() -> None:
    x, y = problem(4)
    solution = torch.randn(7, 4, dtype=torch.float64)
    expected = (x @ solution - y).square().sum() / y.square().sum()
    assert relative_error(sums_of(x, y), solution) == pytest.approx(float(expected), rel=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_sums_are_float64_for_any_input(dtype: torch.dtype) -> None:
    x, y = problem(5)
    sums = sums_of(x.to(dtype), y.to(dtype))
    assert sums.gram.dtype == sums.cross.dtype == torch.float64
    assert_close(sums.gram, x.to(dtype).double().T @ x.to(dtype).double())


def test_products_in_single_precision_are_summed_in_double() -> None:
    """A product of 13 rows in float32 is off by 13 units of 6e-8 at most; the sums must not lose more."""
    x, y = problem(6, rows=4000)
    exact, single = sums_of(x, y), empty_sums(7, 4, torch.device("cpu"))
    for part in torch.arange(len(x)).split(13):
        add_rows(single, x[part], y[part], torch.ones(len(part)), products=torch.float32)
    assert single.gram.dtype == single.cross.dtype == torch.float64
    scale = exact.gram.diagonal().max()
    assert_close(single.gram, exact.gram, atol=float(1e-6 * scale), rtol=0)
    assert_close(single.cross, exact.cross, atol=float(1e-6 * scale), rtol=0)
