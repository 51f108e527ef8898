"""Which points are worth having: those that no other point beats in everything.

A point beats another when it is at least as good in every coordinate and better in one. Points with the
same coordinates do not beat each other, so ties are all kept.
"""

import math
from collections.abc import Sequence
from typing import Literal

__all__ = ["Better", "pareto_front"]

Better = Literal["lower", "higher"]


def pareto_front(points: Sequence[Sequence[float]], better: Sequence[Better]) -> list[int]:
    """Indices of the points that no other point beats, in the order given.

    Args:
        points: n points of k finite coordinates each, such as (perplexity, speed-up).
        better: k entries, which direction of each coordinate is the good one.

    Raises:
        ValueError: a point has another number of coordinates, or one that is not finite.
    """
    for point in points:
        if len(point) != len(better) or not all(math.isfinite(value) for value in point):
            raise ValueError(f"{tuple(point)} is no point of {len(better)} finite coordinates")
    signs = [1.0 if direction == "lower" else -1.0 for direction in better]
    costs = [tuple(sign * value for sign, value in zip(signs, point, strict=True)) for point in points]
    return [index for index, cost in enumerate(costs) if not any(_beats(other, cost) for other in costs)]


def _beats(cost: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Whether `cost` is nowhere higher than `other`, and somewhere lower."""
    return cost != other and all(ours <= theirs for ours, theirs in zip(cost, other, strict=True))
