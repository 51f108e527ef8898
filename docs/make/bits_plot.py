"""The plot of docs/BITS.md: KL over bytes, a line per kind of weights."""

from io import StringIO
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from .bits_page import kl_of
from .plot_style import page_style

__all__ = ["bits_svg"]


def bits_svg(results: dict[str, Any]) -> str:
    """SVG; the same results, the same bytes."""
    kinds = sorted({row["bits"] for row in results["rows"].values()})
    with matplotlib.rc_context(page_style("bits")):
        figure = Figure(figsize=(7.2, 4.0))
        axes = figure.add_subplot()
        for kind in kinds:
            rows = [row for row in results["rows"].values() if row["bits"] == kind]
            points = sorted((row["bytes"] / 1e6, kl_of(row), row["width"]) for row in rows)
            axes.plot(
                [size for size, _, _ in points], [loss for _, loss, _ in points], marker="o", label=kind
            )
            for size, loss, width in points:
                axes.annotate(f"{width:g}", (size, loss), textcoords="offset points", xytext=(4, 4))
        axes.set(xlabel="weights, MB", ylabel="KL to the original, nats per token")
        axes.legend(frameon=False, fontsize=8)
        text = StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()
