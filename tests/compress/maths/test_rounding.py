"""Oracles: rounding to the nearest where nothing can be passed on, its error as an upper bound elsewhere."""

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from dotresize.compress.maths.rounding import Codes, Grid, best_scales, round_by_moment
from dotresize.errors import ConvergenceError

KINDS: tuple[Codes, ...] = ("int4", "int8", "fp8")


def grid_of(codes: Codes, group_size: int | None = 16) -> Grid:
    return Grid(codes=codes, group_size=group_size, scale_dtype=torch.bfloat16)


def correlated(inputs: int, rows: int = 400) -> Tensor:
    """Second moment (i, i) of inputs of very different size that go together."""
    generator = torch.Generator().manual_seed(0)
    mixed = torch.randn(rows, inputs, generator=generator, dtype=torch.float64) @ torch.randn(
        inputs, inputs, generator=generator, dtype=torch.float64
    )
    mixed = mixed * torch.logspace(0, -2, inputs, dtype=torch.float64)
    return mixed.T @ mixed


def weight_of(outputs: int, inputs: int) -> Tensor:
    return torch.randn(outputs, inputs, generator=torch.Generator().manual_seed(1))


def nearest(weight: Tensor, scale: Tensor, grid: Grid) -> Tensor:
    steps = scale.double().repeat_interleave(weight.shape[1] // scale.shape[1], 1)
    return grid.nearest(weight.double() / steps) * steps


def lost(weight: Tensor, rounded: Tensor, moment: Tensor) -> float:
    change = weight.double() - rounded
    return float((change @ moment * change).sum())


@pytest.mark.parametrize("codes", KINDS)
def test_the_products_change_less_than_by_rounding_to_the_nearest(codes: Codes) -> None:
    weight, moment, grid = weight_of(24, 96), correlated(96), grid_of(codes)
    rounded, scale = round_by_moment(weight, moment, grid)
    plain = nearest(weight, best_scales(weight, torch.ones(96), grid), grid)
    assert lost(weight, rounded, moment) < 0.7 * lost(weight, plain, moment)
    assert_close(nearest(rounded, scale, grid), rounded, rtol=0, atol=1e-12)  # they are on the grid


@pytest.mark.parametrize("group_size", [8, None])
def test_inputs_that_do_not_go_together_leave_nothing_to_pass_on(group_size: int | None) -> None:
    weight, grid = weight_of(6, 32), grid_of("int4", group_size)
    rounded, scale = round_by_moment(weight, torch.diag(torch.rand(32, dtype=torch.float64) + 0.1), grid)
    assert scale.shape == (6, 4 if group_size else 1)
    assert scale.dtype == torch.bfloat16
    assert_close(rounded, nearest(weight, scale, grid), rtol=0, atol=1e-12)


def test_codes_survive_storage_in_bfloat16() -> None:
    """What is written is scale times code in the model's dtype; the codes are read off it afterwards."""
    for codes in KINDS:
        grid = grid_of(codes)
        rounded, scale = round_by_moment(weight_of(24, 96), correlated(96), grid)
        assert_close(nearest(rounded.bfloat16(), scale, grid), rounded, rtol=0, atol=1e-12)


def test_dead_inputs_and_zero_weights_are_rounded_too() -> None:
    moment = correlated(32)
    moment[5] = moment[:, 5] = 0.0
    weight = weight_of(4, 32)
    weight[2] = 0.0
    rounded, _ = round_by_moment(weight, moment, grid_of("int4", 8))
    assert bool(rounded.isfinite().all())
    assert not rounded[2].any()


def test_a_moment_that_is_not_finite_is_an_error() -> None:
    moment = correlated(32)
    moment[0, 0] = torch.inf
    with pytest.raises(ConvergenceError, match="second moment of a matrix's inputs"):
        round_by_moment(weight_of(4, 32), moment, grid_of("int4", 8))
