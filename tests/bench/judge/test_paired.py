"""Known answers: synthetic timers whose ratio and noise are given."""

import math
from random import Random

import pytest

from dotresize.bench.judge.paired import compare_pairs, relative_spread

TRIALS = 2000


def rounds_of_a_noisy_machine(
    draw: Random, ratio: float, noise: float, rounds: int
) -> tuple[list[float], ...]:
    """Seconds of two models: each round has its own speed (drift), each run its own noise."""
    original, narrow = [], []
    for _ in range(rounds):
        drift = math.exp(draw.gauss(0, 0.2))
        original.append(0.1 * drift * math.exp(draw.gauss(0, noise)))
        narrow.append(0.1 / ratio * drift * math.exp(draw.gauss(0, noise)))
    return original, narrow


@pytest.mark.parametrize("ratio", [0.8, 1.0, 1.21, 3.0])
@pytest.mark.parametrize("rounds", [3, 5, 40])
def test_the_interval_holds_the_true_ratio_as_often_as_it_says(ratio: float, rounds: int) -> None:
    draw = Random(1)
    held = 0
    for _ in range(TRIALS):
        found = compare_pairs(*rounds_of_a_noisy_machine(draw, ratio, 0.03, rounds), higher_is_better=False)
        assert found.low is not None
        assert found.high is not None
        held += found.low <= ratio <= found.high
    # 95 % of 2000 is 1900 with standard deviation 9.7: five of them on either side
    assert abs(held / TRIALS - 0.95) < 5 * 9.7 / TRIALS


def test_a_against_a_is_no_difference() -> None:
    draw = Random(2)
    verdicts = [
        compare_pairs(*rounds_of_a_noisy_machine(draw, 1.0, 0.03, 5), higher_is_better=False).verdict
        for _ in range(TRIALS)
    ]
    # a 95 % interval is allowed 5 % of false alarms: 100 of 2000, standard deviation 9.7
    assert verdicts.count("no difference") >= 0.95 * TRIALS - 5 * 9.7


def test_a_large_difference_is_always_seen_and_has_a_sign() -> None:
    draw = Random(3)
    for _ in range(TRIALS):
        data = rounds_of_a_noisy_machine(draw, 1.5, 0.02, 5)
        assert compare_pairs(*data, higher_is_better=False).verdict == "faster"
        assert compare_pairs(*data[::-1], higher_is_better=False).verdict == "slower"
        assert compare_pairs(*data, higher_is_better=True).verdict == "slower"


def test_identical_times_are_no_difference_and_have_no_width() -> None:
    found = compare_pairs([0.5, 0.7, 0.6], [0.5, 0.7, 0.6], higher_is_better=False)
    assert (found.speedup, found.low, found.high, found.verdict) == (1.0, 1.0, 1.0, "no difference")


def test_a_difference_below_one_percent_is_none() -> None:
    found = compare_pairs([1.005, 1.005, 1.005], [1.0, 1.0, 1.0], higher_is_better=False)
    assert found.low == pytest.approx(1.005)
    assert found.verdict == "no difference"


def test_one_wild_round_widens_the_interval_and_leaves_the_median() -> None:
    quiet = compare_pairs([1.2] * 5, [1.0] * 5, higher_is_better=False)
    wild = compare_pairs([1.2] * 5, [1.0] * 4 + [8.0], higher_is_better=False)
    assert wild.speedup == quiet.speedup
    assert wild.low is not None
    assert wild.low < 1
    assert wild.verdict == "no difference"


def test_one_or_two_rounds_decide_nothing() -> None:
    assert compare_pairs([2.0], [1.0], higher_is_better=False).verdict == "too few rounds"
    assert compare_pairs([2.0], [1.0], higher_is_better=False).low is None
    assert compare_pairs([2.0, 2.0], [1.0, 1.0], higher_is_better=False).verdict == "too few rounds"


def test_the_spread_is_between_quartiles_and_ignores_one_wild_value() -> None:
    assert relative_spread([1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx(2 / 3)
    assert relative_spread([1.0, 1.0, 1.0, 1.0, 9.0]) == 0.0
    assert relative_spread([1.0]) == 0.0
