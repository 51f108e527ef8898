"""The plot of docs/BITS.md: KL over bytes and over speed, a line per kind of weights."""

from io import StringIO
from statistics import median
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

from ..shared.measured import mean_kl
from ..shared.plot_style import page_style
from .page import engine_of

__all__ = ["bits_svg"]

_MARKERS = {"vllm": "o", "onnx": "s", "gguf": "^"}


def bits_svg(results: dict[str, Any]) -> str:
    """SVG; the same results, the same bytes. Speed has a panel where it was measured."""
    sizes = {label: row["bytes"] / 1e6 for label, row in results["rows"].items()}
    panels = {"weights, MB": sizes}
    if results["speed"]:
        panels["decoding, tokens per second"] = {
            label: median(runs) for label, runs in results["speed"].items()
        }
    with matplotlib.rc_context(page_style("bits")):
        figure = Figure(figsize=(7.2 if len(panels) == 1 else 11.0, 3.8))
        every = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for axes, (name, values) in zip(every, panels.items(), strict=True):
            _panel(axes, results["rows"], values)
            axes.set_xlabel(name)
            axes.set_yscale("symlog", linthresh=0.01)
            axes.set_ylim(bottom=0)
        every[0].set_ylabel("KL to the original, nats per token")
        lines, names = every[0].get_legend_handles_labels()
        figure.legend(lines, names, loc="outside right upper", frameon=False, fontsize=8)
        text = StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()


def _panel(axes: Axes, rows: dict[str, Any], values: dict[str, float]) -> None:
    """KL over what `values` has of each row, a line per kind of weights, widths written beside."""
    kinds = _kinds(rows)
    for number, kind in enumerate(kinds):
        points = sorted(  # along the line from the narrowest to the original, whatever was measured
            (row["width"], values[label], mean_kl(row["quality"]))
            for label, row in rows.items()
            if row["bits"] == kind and label in values
        )
        xs, ys = [x for _, x, _ in points], [y for _, _, y in points]
        colour = f"C{number}"
        axes.plot(xs, ys, marker=_MARKERS[engine_of(kind)], markersize=5, color=colour, label=kind)
        for width, x, y in points:
            axes.annotate(
                f"{width:g}", (x, y), xytext=(5, 2), textcoords="offset points", fontsize=7, color=colour
            )
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 3, 5, 7)))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())


def _kinds(rows: dict[str, Any]) -> list[str]:
    """Kinds of weights, engine by engine; what has a calibrated form is left to the table."""
    kinds = {row["bits"] for row in rows.values()}
    better = {f"{kind.removesuffix(' nearest')} calibrated": kind for kind in kinds}
    plain = {kind for form, kind in better.items() if form in kinds and form != kind}
    return sorted(kinds - plain, key=lambda kind: (list(_MARKERS).index(engine_of(kind)), kind))
