"""The plot of docs/BITS.md: KL over bytes and over speed, a line per kind of weights."""

from io import StringIO
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..shared.plot_style import page_style
from .page import kl_of

__all__ = ["bits_svg"]


def bits_svg(results: dict[str, Any]) -> str:
    """SVG; the same results, the same bytes. Speed has a panel where it was measured."""
    sizes = {label: row["bytes"] / 1e6 for label, row in results["rows"].items()}
    panels = {"weights, MB": sizes}
    if results["speed"]:
        panels["decoding, tokens per second"] = results["speed"]
    with matplotlib.rc_context(page_style("bits")):
        figure = Figure(figsize=(7.2 if len(panels) == 1 else 10.4, 4.0))
        every = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, (name, values) in zip(every, panels.items(), strict=True):
            _panel(axes, results["rows"], values)
            axes.set_xlabel(name)
            axes.set_yscale("symlog", linthresh=0.01)
            axes.set_ylim(bottom=0)
        every[0].set_ylabel("KL to the original, nats per token")
        every[0].legend(frameon=False, fontsize=8)
        text = StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()


def _panel(axes: Axes, rows: dict[str, Any], values: dict[str, float]) -> None:
    """KL over what `values` has of each row, a line per kind of weights, widths written beside."""
    for kind in sorted({row["bits"] for row in rows.values()}):
        points = sorted(
            (values[label], kl_of(row), row["width"])
            for label, row in rows.items()
            if row["bits"] == kind and label in values
        )
        xs, ys = [x for x, _, _ in points], [y for _, y, _ in points]
        axes.plot(xs, ys, marker="o", label=kind)
        for x, y, width in points:
            axes.annotate(f"{width:g}", (x, y), textcoords="offset points", xytext=(4, 4))
