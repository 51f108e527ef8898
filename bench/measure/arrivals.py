"""PURE. When requests arrive that nobody holds back: a Poisson process, the same for every model."""

import math
from itertools import accumulate
from random import Random

__all__ = ["arrival_seconds", "rate_requests"]

LEAST_REQUESTS = 20  # so that five rounds show a 99th percentile
LEAST_SECONDS = 10


def rate_requests(rate: float) -> int:
    """How many requests one measurement sends at a rate per second."""
    return max(LEAST_REQUESTS, math.ceil(LEAST_SECONDS * rate))


def arrival_seconds(count: int, rate: float, seed: int, round_number: int) -> list[float]:
    """When each request is sent, from the first at 0: a Poisson process of the mean rate that was asked for.

    Exponential gaps, stretched so that the last request comes when it is due: a few dozen would miss the rate
    by a quarter and more. It is the process given its last arrival (gaps over their sum are Dirichlet's).

    Args:
        count: requests, at least 2.
        rate: per second.
        seed: of the run.
        round_number: another one draws other gaps.
    """
    draw = Random(f"{seed} {round_number} {rate}")
    arrivals = [0.0, *accumulate(draw.expovariate(1.0) for _ in range(count - 1))]
    stretch = (count - 1) / rate / arrivals[-1]
    return [arrival * stretch for arrival in arrivals]
