"""PURE: the candidates of a budget, and why there are none.

For every combination of levels on all axes but one, the last axis takes its largest value at which the budget
holds; each axis has its turn as the last. So every candidate spends the budget as far as its grid allows.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product

from ..compress.families.family import Axis
from ..errors import OptionError, WidthError
from .axes import AXES, FIELDS, Axes, Candidate
from .prediction import Need, Predicted

__all__ = ["check_feasible", "fill", "holds", "probes", "single_axis", "spread"]

LEVELS = 9  # of each axis in a combination

Predict = Callable[[Candidate], Predicted]


def holds(predicted: Predicted, needs: Sequence[Need]) -> bool:
    """Whether a candidate meets the whole budget."""
    return all(need.holds(predicted) for need in needs)


def spread(axes: Axes, predict: Predict, needs: Sequence[Need]) -> list[Candidate]:
    """Candidates that meet the budget, each as wide as its other axes leave room for."""
    found: dict[Candidate, None] = {}
    for last in axes.moving:
        for others in product(*_levels(axes, last)):
            filled = fill(axes, others, last, predict, needs)
            if filled is not None:
                found[filled] = None
    return list(found)


def single_axis(axes: Axes, predict: Predict, needs: Sequence[Need]) -> dict[Axis, Candidate]:
    """The candidate of each axis alone, where that is enough."""
    filled = {AXES[axis]: fill(axes, axes.dense, axis, predict, needs) for axis in axes.moving}
    return {axis: candidate for axis, candidate in filled.items() if candidate is not None}


def probes(axes: Axes, singles: Mapping[Axis, Candidate]) -> dict[Axis, Candidate]:
    """A candidate for each axis that moves it alone: within the budget, or else a third narrower."""
    found = dict(singles)
    for axis in axes.moving:
        own, values = axes.dense[axis], axes.values[axis]
        others = [value for value in values if value != own and _legal(axes, axes.dense, axis, value)]
        if AXES[axis] not in found and others:
            value = min(others, key=lambda value: abs(value - 2 * own / 3))
            found[AXES[axis]] = (*axes.dense[:axis], value, *axes.dense[axis + 1 :])
    return found


def fill(
    axes: Axes, candidate: Candidate, axis: int, predict: Predict, needs: Sequence[Need]
) -> Candidate | None:
    """The candidate with the largest value of an axis at which the budget holds; None where none does.

    The original's own value is tried by itself, because leaving it may cost something once (a new hidden
    size unties the head); below it, what holds at a value holds at all smaller ones.
    """

    def holds_at(value: int) -> Candidate | None:
        changed = (*candidate[:axis], value, *candidate[axis + 1 :])
        legal = axes.is_legal(changed) and changed != axes.dense
        return changed if legal and holds(predict(changed), needs) else None

    own = axes.dense[axis]
    values = [value for value in axes.values[axis] if value != own and _legal(axes, candidate, axis, value)]
    if own in axes.values[axis] and (unchanged := holds_at(own)):
        return unchanged
    low, high, best = 0, len(values) - 1, None
    while low <= high:
        middle = (low + high) // 2
        found = holds_at(values[middle])
        if found is None:
            low = middle + 1
        else:
            best, high = found, middle - 1
    return best


def check_feasible(axes: Axes, predict: Predict, needs: Sequence[Need]) -> None:
    """Refuse a budget that the original meets already, or that nothing meets.

    Raises:
        OptionError: there is nothing to narrow, or no axis that could.
        WidthError: out of reach; it says what is nearest, and which axis binds.
    """
    if not axes.moving:
        raise OptionError("no axis of this model can be narrowed, so there is nothing to plan.")
    if all(axes.dense[axis] in axes.values[axis] for axis in range(len(AXES))) and holds(
        predict(axes.dense), needs
    ):
        met = ", ".join(f"{need.option} {_shown(need.limit)}" for need in needs)
        raise OptionError(f"the model meets {met} as it is; there is nothing to narrow.")
    smallest = min(_smallest(axes), key=lambda one: predict(one).weight_bytes)
    for need in needs:
        if not need.holds(predict(smallest)):
            raise WidthError(_out_of_reach(axes, predict, need, smallest))


def _out_of_reach(axes: Axes, predict: Predict, need: Need, smallest: Candidate) -> str:
    nearest = need.value(predict(smallest))

    def gained(axis: int) -> float:
        whole = (*smallest[:axis], axes.dense[axis], *smallest[axis + 1 :])
        return abs(need.value(predict(whole)) - nearest) if axes.is_legal(whole) else 0.0

    binding = max(axes.moving, key=gained)
    fixed = [axis for axis in range(len(AXES)) if axis not in axes.moving and axes.dense[axis]]
    others = f"; not movable: {', '.join(AXES[axis] for axis in fixed)}" if fixed else ""
    return (
        f"{need.option} {_shown(need.limit)} cannot be reached; nearest feasible: {_shown(nearest)}. "
        f"{AXES[binding]} binds: {FIELDS[AXES[binding]]} is at {smallest[binding]} of "
        f"{axes.dense[binding]} there, the least that is planned{others}."
    )


def _smallest(axes: Axes) -> Iterator[Candidate]:
    """With every axis at its least; with the hidden size also at its own, where that keeps a tied head."""
    least = tuple(values[-1] for values in axes.values)
    yield from (one for one in (least, (axes.values[0][0], *least[1:])) if axes.is_legal(one))
    hidden = next(value for value in reversed(axes.values[0]) if _legal(axes, least, 0, value))
    yield (hidden, *least[1:])


def _levels(axes: Axes, last: int) -> Iterator[tuple[int, ...]]:
    for axis, values in enumerate(axes.values):
        if axis == last:
            yield (values[0],)
            continue
        count = min(LEVELS, len(values))
        places = {round(step * (len(values) - 1) / max(count - 1, 1)) for step in range(count)}
        yield tuple(values[place] for place in sorted(places))


def _legal(axes: Axes, candidate: Candidate, axis: int, value: int) -> bool:
    return axes.is_legal((*candidate[:axis], value, *candidate[axis + 1 :]))


def _shown(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
