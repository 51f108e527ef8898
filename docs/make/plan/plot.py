"""The fronts of docs/PLAN.md as SVG: perplexity ratio over the budget, a line per axis and kind of plan."""

from io import StringIO
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..shared.plot_style import page_style
from .page import mean_of, worst_of
from .setting import BUDGETS, DEFAULT, PROXIED, QUICK, ROWS, SEARCHED

__all__ = ["plan_svg"]

_COLOURS = dict(zip(ROWS, ("#1b6ca8", "#b35900", "#5a8f29", "#8a5aa8", "#999999", "#0b2e4f"), strict=True))
_KINDS = {"params": "layer parameters kept", "decode": "decode speed-up asked for"}


def plan_svg(results: dict[str, Any]) -> str:
    """A panel per kind of budget and amount that has rows; the same results, the same bytes."""
    panels = [
        (amount.name, kind)
        for amount in (DEFAULT, QUICK)
        for kind in _KINDS
        if any(_points(results, amount.name, kind, row) for row in ROWS)
    ]
    with matplotlib.rc_context(page_style("plan")):
        figure = Figure(figsize=(7.2, 3.2 * max(len(panels), 1)))
        for number, (amount, kind) in enumerate(panels):
            _draw(figure.add_subplot(len(panels), 1, number + 1), results, amount, kind)
        text = StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()


def _draw(axes: Axes, results: dict[str, Any], amount: str, kind: str) -> None:
    for row in ROWS:
        points = _points(results, amount, kind, row)
        if points:
            places, means, worst = zip(*points, strict=True)
            style = "-" if row in (PROXIED, SEARCHED) else "--"
            axes.plot(places, means, style, marker="o", markersize=4, color=_COLOURS[row], label=row)
            axes.plot(places, worst, "_", markersize=8, color=_COLOURS[row])
    axes.set_title(f"{amount}: mean of the texts; a dash is the worst text", loc="left", fontsize=10)
    axes.set_xlabel(_KINDS[kind])
    axes.set_yscale("log")  # the hidden width alone loses a hundred times what others do
    axes.set_ylabel("perplexity ratio to the original")
    axes.legend(frameon=False, fontsize=8)


def _points(results: dict[str, Any], amount: str, kind: str, row: str) -> list[tuple[float, float, float]]:
    """Budget, mean and worst ratio, in the order of the budgets."""
    found = []
    for budget in BUDGETS:
        each = results["fronts"].get(f"{amount}: {budget}: {row}", {})
        if budget.startswith(kind) and "quality" in each:
            place = float(budget.split(" ")[1].rstrip("x"))
            found.append((place, mean_of(each["quality"]), worst_of(each["quality"])))
    return sorted(found)
