"""The plot of the method benchmark: perplexity relative to the original, one panel per axis, log scale.

A bar is the geometric mean over the texts, a tick the worst text.
"""

from io import StringIO
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from ..shared.plot_style import page_style

__all__ = ["quality_svg"]

_STYLE = {**page_style("quality"), "axes.axisbelow": True, "axes.grid": False}
_FITTED, _PARTLY, _UNFITTED = "#1b6ca8", "#7fb2d6", "#b0b0b0"


def quality_svg(results: dict[str, Any]) -> str:
    """The SVG of a results file of `run_quality` with at least one row; the same results, the same bytes."""
    axes_rows: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for label, row in results["rows"].items():
        axis, method = label.split(": ", 1)
        axes_rows.setdefault(axis, []).append((method, _ratio(row["quality"])))
    counts = [len(rows) for rows in axes_rows.values()]
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(7.2, 0.9 + 0.32 * (sum(counts) + 2 * len(counts))))
        panels = figure.subplots(len(counts), 1, squeeze=False, height_ratios=[count + 1 for count in counts])
        for panel, (axis, rows) in zip(panels[:, 0], sorted(axes_rows.items()), strict=True):
            _draw(panel, axis, sorted(rows, key=lambda item: -item[1]["value"]))
        text = StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()


def _draw(panel: Axes, axis: str, rows: list[tuple[str, dict[str, Any]]]) -> None:
    names, ratios = [method for method, _ in rows], [ratio["value"] for _, ratio in rows]
    errors = [ratio["standard_error"] or 0.0 for _, ratio in rows]
    worst = [ratio["worst"] for _, ratio in rows]
    panel.barh(names, ratios, xerr=errors, color=[_colour(name) for name in names], height=0.7)
    panel.set_xscale("log")
    panel.plot(worst, names, "|", color="#333333", markersize=7)
    panel.set_xlim(left=min(1.0, *ratios), right=max(worst) * 1.35)
    panel.set_xticks([1, *(tick for tick in (1.5, 2, 5, 10, 100) if tick < max(worst) * 1.35)])
    panel.xaxis.set_major_formatter("{x:g}")
    panel.xaxis.set_minor_locator(NullLocator())
    for place, (ratio, furthest) in enumerate(zip(ratios, worst, strict=True)):
        where = (furthest, place)
        panel.annotate(f"{ratio:.3g}", where, (5, 0), textcoords="offset points", va="center")
    panel.set_title(
        f"{axis}: perplexity relative to the original, mean and worst text", loc="left", fontsize=10
    )


def _ratio(quality: dict[str, Any]) -> dict[str, float]:
    """Geometric mean over the texts, its error, and the worst text."""
    whole = next((line for line in quality["summary"] if line["scope"] == "all texts"), None)
    alone = quality["texts"][0]["models"][1]["perplexity_ratio"]
    mean, worst = (whole["geometric_mean"], whole["worst"]) if whole else (alone, alone)
    return {**mean, "worst": worst["value"]}


def _colour(method: str) -> str:
    method = method.partition(" [")[0]
    if method.endswith("none") or method.endswith("none)"):
        return _UNFITTED
    return _FITTED if "full" in method and "without" not in method else _PARTLY
