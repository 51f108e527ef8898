"""PURE. Is one model faster than another, from measurements made in pairs?

Round r measures both models close together in time and gives one speed-up s_r. What disturbs a whole round
disturbs both alike and cancels. With x_r = ln s_r over n rounds, mean m and standard deviation d,

    95 % interval = exp(m ± t d / sqrt(n)),   t: the 0.975 quantile of Student's t, n - 1 degrees of freedom

(the paired t-test on log ratios). Few rounds or one wild round make the interval wide, never falsely
narrow. The reported speed-up is the median of s_r, which a single wild round does not move.
"""

import math
from dataclasses import dataclass
from statistics import fmean, median, stdev
from typing import Literal

from scipy.stats import t as student_t

__all__ = ["LEAST_DIFFERENCE", "LEAST_ROUNDS", "PairedSpeedup", "compare_pairs", "relative_spread"]

Verdict = Literal["faster", "slower", "no difference", "too few rounds"]
LEAST_ROUNDS = 3  # below this, the interval says little
LEAST_DIFFERENCE = 0.01  # a speed-up within 1 % of 1 is called no difference: no user would notice it
CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class PairedSpeedup:
    """Larger than 1: the second model is better. The interval is None for a single pair."""

    pairs: list[float]
    speedup: float
    low: float | None
    high: float | None
    verdict: Verdict


def compare_pairs(original: list[float], narrow: list[float], *, higher_is_better: bool) -> PairedSpeedup:
    """Compare two models measured in pairs.

    Args:
        original: one positive value per round.
        narrow: of the same rounds, in the same order.
        higher_is_better: True for rates, False for durations.
    """
    pairs = [
        second / first if higher_is_better else first / second
        for first, second in zip(original, narrow, strict=True)
    ]
    speedup = median(pairs)
    if len(pairs) < 2:
        return PairedSpeedup(pairs=pairs, speedup=speedup, low=None, high=None, verdict="too few rounds")
    logs = [math.log(pair) for pair in pairs]
    quantile = float(student_t.ppf((1 + CONFIDENCE) / 2, len(logs) - 1))
    half = quantile * stdev(logs) / math.sqrt(len(logs))
    low, high = math.exp(fmean(logs) - half), math.exp(fmean(logs) + half)
    return PairedSpeedup(
        pairs=pairs, speedup=speedup, low=low, high=high, verdict=_verdict(speedup, low, high, len(pairs))
    )


def _verdict(speedup: float, low: float, high: float, rounds: int) -> Verdict:
    if rounds < LEAST_ROUNDS:
        return "too few rounds"
    if low <= 1 <= high or abs(math.log(speedup)) < math.log1p(LEAST_DIFFERENCE):
        return "no difference"
    return "faster" if low > 1 else "slower"


def relative_spread(values: list[float]) -> float:
    """How much repeated measurements of one thing differ: the range between quartiles over the median.

    0 for fewer than two values. Robust: a single wild value among five does not count.
    """
    if len(values) < 2:
        return 0.0
    ordered = sorted(values)
    return (_quantile(ordered, 0.75) - _quantile(ordered, 0.25)) / median(ordered)


def _quantile(ordered: list[float], share: float) -> float:
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)
