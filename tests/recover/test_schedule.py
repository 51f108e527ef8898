"""The rate over the steps: bounds and shape, from its definition."""

import pytest

from dotresize.recover.ask.schedule import default_warmup, rate_factor


@pytest.mark.parametrize("steps", [1, 3, 4, 40, 1000])
def test_every_step_moves_and_the_rate_rises_then_falls(steps: int) -> None:
    warmup = default_warmup(steps)
    rates = [rate_factor(step, steps, warmup) for step in range(steps)]
    assert all(0.0 < rate <= 1.0 for rate in rates)
    assert rates[:warmup] == sorted(rates[:warmup])
    assert rates[warmup:] == sorted(rates[warmup:], reverse=True)
    assert rates[warmup] == 1.0


@pytest.mark.parametrize(("steps", "expected"), [(1, 0), (8, 2), (40, 10), (100, 10), (1000, 50)])
def test_short_runs_warm_up_for_a_quarter(steps: int, expected: int) -> None:
    assert default_warmup(steps) == expected
