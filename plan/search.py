"""PURE but for what measures: the best candidate of a budget by successive halving with mutations.

The start holds the best candidate of each axis alone and, by proxy, of each combination of axes. The better
ones bring forth mutants: one axis moves, another gives or takes what the budget then allows. The best of all,
and the best that moves one axis only, go to rungs of twice as many windows each, and the one that leads on
the last is the plan: so a plan of several axes has beaten that one axis where most was seen.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from ..compress.families.family import Axis
from .axes import Axes, Candidate, moved_axes
from .candidates import Predict, fill
from .prediction import Need

__all__ = ["AMOUNTS", "Amount", "Effort", "Ranked", "search", "start_of", "work_units"]

Effort = Literal["quick", "standard", "thorough"]
FARTHEST_STEP = 3  # grid steps of one mutation
TRIES = 20  # for each mutant: most moves lead to candidates that are known


@dataclass(frozen=True, kw_only=True)
class Amount:
    """How many candidates are measured."""

    start: int
    mutants: int  # of each generation
    generations: int
    rungs: tuple[int, ...]  # how many reach the rungs above the lowest, beside the best single axis


AMOUNTS: dict[Effort, Amount] = {
    "standard": Amount(start=10, mutants=4, generations=1, rungs=(3, 2)),
    "thorough": Amount(start=16, mutants=8, generations=4, rungs=(6, 3, 2)),
}

Measure = Callable[[Sequence[Candidate], int], Sequence[float]]  # candidates, rung -> losses


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """A candidate and the loss that the proxy expects."""

    candidate: Candidate
    proxy: float


def work_units(amount: Amount) -> int:
    """Measurements, each counted with its windows in those of the lowest rung."""
    lowest = amount.start + amount.mutants * amount.generations
    higher: int = sum((count + 1) * 2 ** (rung + 1) for rung, count in enumerate(amount.rungs))
    return lowest + higher


def start_of(pool: Sequence[Ranked], dense: Candidate, count: int) -> list[Candidate]:
    """The best of each axis alone, then of each combination of axes, then the next best; at most `count`."""
    ordered = sorted(pool, key=lambda one: (one.proxy, one.candidate))
    groups: dict[tuple[Axis, ...], Candidate] = {}
    for one in ordered:
        groups.setdefault(moved_axes(one.candidate, dense), one.candidate)
    singles = [candidate for moved, candidate in groups.items() if len(moved) == 1]
    combined = [candidate for moved, candidate in groups.items() if len(moved) > 1]
    rest = [one.candidate for one in ordered]
    return list(dict.fromkeys([*singles, *combined, *rest]))[:count]


def search(
    start: Sequence[Candidate],
    axes: Axes,
    predict: Predict,
    needs: Sequence[Need],
    measure: Measure,
    amount: Amount,
    seed: int,
) -> Candidate:
    """The candidate that leads on the highest rung.

    Args:
        start: of `start_of`.
        axes: of the model.
        predict: sizes of a candidate.
        needs: the budget, which every mutant keeps.
        measure: the losses of candidates on a rung, 0 the lowest; they may be found side by side.
        amount: how much is measured.
        seed: draws the mutations.
    """
    generator = random.Random(seed)
    losses = dict(zip(start, measure(start, 0), strict=True))
    alone = _best({one: loss for one, loss in losses.items() if len(moved_axes(one, axes.dense)) == 1}, 1)
    for _ in range(amount.generations):
        parents = _best(losses, max(2, amount.mutants // 2))
        mutants: list[Candidate] = []
        for number in range(amount.mutants):
            parent = parents[number % len(parents)]
            mutant = _mutant(parent, {*losses, *mutants}, axes, predict, needs, generator)
            mutants += [] if mutant is None else [mutant]
        losses |= zip(mutants, measure(mutants, 0), strict=True)
    for rung, count in enumerate(amount.rungs, start=1):
        leaders = list(dict.fromkeys([*_best(losses, count), *alone]))
        losses = dict(zip(leaders, measure(leaders, rung), strict=True))
    return _best(losses, 1)[0]


def _best(losses: dict[Candidate, float], count: int) -> list[Candidate]:
    return sorted(losses, key=lambda candidate: (losses[candidate], candidate))[:count]


def _mutant(
    parent: Candidate,
    known: set[Candidate],
    axes: Axes,
    predict: Predict,
    needs: Sequence[Need],
    generator: random.Random,
) -> Candidate | None:
    """A neighbour at the same budget; None where every try led to a known one."""
    for _ in range(TRIES):
        moved = generator.choice(axes.moving)
        values = axes.values[moved]
        place = values.index(parent[moved]) if parent[moved] in values else 0
        place += generator.choice((-1, 1)) * generator.randint(1, FARTHEST_STEP)
        value = values[min(max(place, 0), len(values) - 1)]
        candidate = (*parent[:moved], value, *parent[moved + 1 :])
        balancing = [axis for axis in axes.moving if axis != moved] or [moved]
        filled = fill(axes, candidate, generator.choice(balancing), predict, needs)
        if filled is not None and filled not in known:
            return filled
    return None
