"""How every chart looks: small panels as inline SVG whose colours are CSS variables of the page.

Matplotlib draws with sentinel colours; `panel` replaces them by `var(--...)`, so one SVG follows the
light, dark and print styles of the page. Text stays text, in the page's font.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import StringIO
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = [
    "INK",
    "MUTED",
    "RULE",
    "SURFACE",
    "Chart",
    "Legend",
    "Panel",
    "Plot",
    "colours",
    "model_legend",
    "part_colours",
    "plot",
    "variable",
]

INK, MUTED, RULE, SURFACE = "#010101", "#020202", "#030303", "#040404"
SERIES = tuple(f"#0a0a{place:02x}" for place in range(9))  # 0 is the original, then 8 that repeat
PARTS = tuple(f"#0b0b{place:02x}" for place in range(8))
VARIABLES = {INK: "--ink", MUTED: "--muted", RULE: "--rule", SURFACE: "--surface"}
VARIABLES |= {colour: f"--series-{place}" for place, colour in enumerate(SERIES)}
VARIABLES |= {colour: f"--part-{place}" for place, colour in enumerate(PARTS)}
WIDTH_INCHES = 3.6  # shown at about 350 CSS pixels, so the text is readable on a phone
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 8.5,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "text.parse_math": False,  # a model may be called "$1"
    "axes.formatter.use_mathtext": False,
    "figure.constrained_layout.use": True,
}


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One small chart: `svg` is safe to put into HTML as it is, `label` says in words what it shows."""

    svg: str
    label: str


@dataclass(frozen=True, kw_only=True)
class Legend:
    """One entry: `colour` is a CSS variable name, `shape` a class of the page's swatches."""

    colour: str
    shape: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Panels with one title, legend, explanation and source line."""

    title: str
    panels: list[Panel]
    caption: str
    source: str
    legend: list[Legend] = field(default_factory=list)


def colours(names: Sequence[str]) -> dict[str, str]:
    """Model name -> sentinel colour; the first, the original, is neutral."""
    return {name: SERIES[0] if not place else SERIES[1 + (place - 1) % 8] for place, name in enumerate(names)}


def part_colours(parts: Sequence[str]) -> dict[str, str]:
    """Part of a model -> sentinel colour."""
    return {part: PARTS[place % len(PARTS)] for place, part in enumerate(parts)}


def variable(colour: str) -> str:
    """The CSS variable behind a sentinel colour."""
    return VARIABLES[colour]


class Plot:
    """Axes to draw on; `panel` is set when the `with` block of `plot` ends."""

    def __init__(self, axes: Axes) -> None:
        self.axes = axes
        self.panel: Panel | None = None

    def finished(self) -> Panel:
        """The finished panel."""
        assert self.panel is not None
        return self.panel


@contextmanager
def plot(key: str, label: str, *, height_inches: float = 2.6, grid: str = "both") -> Iterator[Plot]:
    """Draw one panel in the house style.

    Args:
        key: unique on the page; it makes the identifiers inside the SVG unique and reproducible.
        label: what the chart shows, in words.
        height_inches: the width is the same for all.
        grid: axis that gets grid lines: "x", "y" or "both".
    """
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": key}):
        figure = Figure(figsize=(WIDTH_INCHES, height_inches))
        axes = figure.add_subplot()
        axes.grid(visible=False)
        axes.grid(visible=True, axis=grid)  # type: ignore[arg-type]
        drawing = Plot(axes)
        yield drawing
        stream = StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(stream, format="svg", transparent=True, metadata=nothing)
        drawing.panel = Panel(svg=_inline(stream.getvalue()), label=label)


def _inline(document: str) -> str:
    """A stand-alone SVG document -> an element for HTML, themed and without identifiers nobody uses."""
    svg = document[document.index("<svg") :].strip()
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(
        r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', r'<svg viewBox="\1" aria-hidden="true">', svg, count=1
    )
    svg = svg.replace("xlink:href", "href")
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r"font-family: [^;\"]*", "font-family: inherit", svg)
    svg = re.sub(r"\s*\n\s*", " ", svg)
    return re.sub(r"#0[0-9a-f]{5}\b", lambda found: f"var({VARIABLES[found[0]]})", svg)


def model_legend(names: Sequence[str], letters: dict[str, str]) -> list[Legend]:
    """One entry per model: its letter, colour and name."""
    chosen = colours(list(letters))
    return [
        Legend(colour=variable(chosen[name]), shape="dot", text=f"{letters[name]}  {name}") for name in names
    ]
