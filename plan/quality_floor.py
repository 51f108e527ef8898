"""A quality that must hold beside a budget: whether it does, and which budget would let it."""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

from ..errors import OptionError, WidthError
from .axes import Axes, Candidate
from .candidates import Predict, spread
from .prediction import Need, Predicted

__all__ = ["BEHIND", "loosened", "out_of_reach", "parse_floor"]

BEHIND = 1e3  # on top of a loss in nats: behind all that meet the floor, in the order of their loss
STEPS = 4  # of the search for a budget, each a measurement


def parse_floor(text: str) -> float:
    """The perplexity ratio to the original, at most.

    Raises:
        OptionError: it is no such floor.
    """
    found = re.fullmatch(r"ppl\s*<=\s*([0-9]*\.?[0-9]+)", text.strip())
    if found is None:
        raise OptionError(f"--quality-floor is {text!r}; give the ratio of perplexities, as in 'ppl<=1.15'.")
    if not float(found[1]) > 1.0:
        raise OptionError(f"--quality-floor {text} asks for no loss at all; give a ratio above 1.")
    return float(found[1])


def loosened(needs: Sequence[Need], dense: Predicted, share: float) -> list[Need]:
    """The budget, moved towards what the original takes by a share in [0, 1]."""
    return [replace(need, limit=need.limit + share * (need.value(dense) - need.limit)) for need in needs]


def out_of_reach(
    floor: float,
    best: float,
    axes: Axes,
    predict: Predict,
    needs: Sequence[Need],
    measure: Callable[[Sequence[Candidate]], tuple[Candidate, float]],
) -> WidthError:
    """What to say when no candidate of a budget is good enough.

    Args:
        floor: the perplexity ratio that was asked for.
        best: the lowest that was measured.
        axes: of the model.
        predict: sizes of a candidate.
        needs: the budget.
        measure: the most promising of some candidates, and its perplexity ratio.
    """
    dense, low, high = predict(axes.dense), 0.0, 1.0
    nearest: tuple[Candidate, float] | None = None
    for _ in range(STEPS):
        share = (low + high) / 2
        pool = spread(axes, predict, loosened(needs, dense, share))
        found = measure(pool) if pool else None
        if found is not None and found[1] <= floor:
            nearest, high = found, share
        else:
            low = share
    head = (
        f"--quality-floor ppl<={floor:g} is not reached within the budget: the best measured there is ppl "
        f"{best:.3f} (narrowed on few windows)"
    )
    if nearest is None:
        return WidthError(f"{head}; nor by any smaller change that was tried. Ask for less quality.")
    predicted = predict(nearest[0])
    budget = ", ".join(_shown(need, predicted, dense) for need in needs)
    return WidthError(f"{head}. Nearest budget that reaches it: {budget}, with ppl {nearest[1]:.3f}.")


def _shown(need: Need, predicted: Predicted, dense: Predicted) -> str:
    value = need.value(predicted)
    share = f" ({value / need.value(dense):.3f} of the original)" if need.at == "most" else ""
    return f"{need.option} {f'{value:,.0f}' if value >= 1000 else f'{value:.3g}'}{share}"
