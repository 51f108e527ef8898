"""The plots of the fidelity page as SVG: regularisation, calibration tokens, compute."""

from io import StringIO
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from ..shared.plot_style import page_style
from .page import ratio, views
from .rows import REGULARISATIONS

__all__ = ["plots"]


def plots(results: dict[str, Any]) -> dict[str, str]:
    """Name -> SVG of every plot whose rows are there; the same results give the same bytes."""
    drawn = {
        "regularisation": _lines(_regularisation(results), "lambda", "ratio to dense", log_x=False),
        "tokens": _lines(_tokens(results), "calibration tokens", "ratio to dense", log_x=True),
        "compute": _lines(_compute(results), "hidden width", "time, relative to dense", log_x=False),
    }
    return {name: svg for name, svg in drawn.items() if svg}


Lines = dict[str, list[tuple[float, float]]]


def _regularisation(results: dict[str, Any]) -> Lines:
    own = results["setting"]["own"]
    lines: Lines = {}
    for width in results["setting"]["widths"]:
        for compensate in ("none", "full"):
            points = [
                (reg, value)
                for reg in REGULARISATIONS
                if reg > 0  # unregularised transport is out of any scale
                and (value := ratio(results, f"hidden {width:g}: dot, lambda {reg:g}, {compensate}", own))
                is not None
            ]
            lines[f"width {width:g}, {compensate}"] = points
    return lines


def _tokens(results: dict[str, Any]) -> Lines:
    setting = results["setting"]
    counts = [windows * setting["window_tokens"] for windows in setting["token_counts"]]
    return {
        text: [
            (count, value)
            for count in counts
            if (value := ratio(results, f"tokens {count}: mlp magnitude, full", text)) is not None
        ]
        for text in views(results)
    }


def _compute(results: dict[str, Any]) -> Lines:
    rows = results["compute"]["rows"]
    names = {
        "one basis": "one_basis",
        "one basis, FLOPs": "one_basis_predicted",
        "map per junction": "per_junction",
        "map per junction, FLOPs": "per_junction_predicted",
    }
    return {name: [(row["fraction"], row[key]) for row in rows] for name, key in names.items()}


def _lines(lines: Lines, x_label: str, y_label: str, *, log_x: bool) -> str:
    lines = {name: points for name, points in lines.items() if points}
    if not lines:
        return ""
    with matplotlib.rc_context(page_style("fidelity")):
        figure = Figure(figsize=(6.4, 3.2))
        axes = figure.subplots()
        for name, points in lines.items():
            style = "--" if name.endswith("FLOPs") else "-"
            axes.plot(*zip(*points, strict=True), style, marker="o", markersize=3, label=name)
        if log_x:
            axes.set_xscale("log", base=2)
            ticks = sorted({x for points in lines.values() for x, _ in points})
            axes.set_xticks(ticks, [f"{tick / 1000:.0f} K" for tick in ticks])
            axes.minorticks_off()
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        axes.legend(frameon=False, fontsize=8)
        text = StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()
