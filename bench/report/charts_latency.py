"""The charts of latency: how single samples are distributed, not only their median."""

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from ..judge.wording import (
    LOADS,
    SCENARIOS,
    higher_is_better,
    keys,
    load_text,
    metric,
    scaled_seconds,
    significant,
)
from ..record.results import Results
from ..record.samples import pooled, quantile
from .chart_style import SURFACE, Chart, Panel, colours, model_legend, plot

__all__ = ["latency_chart"]

FEW_SAMPLES = 60  # up to here, every sample is drawn
WIDE_RANGE = 20  # largest over smallest value from which an axis is logarithmic


def latency_chart(results: Results, source: str) -> Chart | None:
    """Box plots of every latency that has samples; None without any."""
    samples = pooled(results)
    panels = []
    for scenario in SCENARIOS:
        names = dict.fromkeys(
            key[3] for key in samples if key[1] == scenario and not higher_is_better(key[3])
        )
        for name in names:
            chosen = {
                (load, model): values
                for (model, kind, load, key), values in samples.items()
                if (kind, key) == (scenario, name)
            }
            panels.append(_boxes(results, scenario, name, chosen))
    if not panels:
        return None
    return Chart(
        title="Latency distributions",
        panels=panels,
        caption="All rounds together. Box: quartiles with the median; line: 10th to 90th percentile; circle: "
        "99th percentile, where there are at least 100 samples. "
        f"Up to {FEW_SAMPLES} samples are drawn one by one. Rows: the model's letter, grouped by load.",
        source=source,
        legend=model_legend([model.name for model in results.models], keys(results.models)),
    )


def _boxes(results: Results, scenario: str, name: str, chosen: dict[tuple[int, str], list[float]]) -> Panel:
    letters, shades = keys(results.models), colours([model.name for model in results.models])
    rows = sorted(chosen, key=lambda row: (row[0], list(letters).index(row[1])))
    factor, unit = scaled_seconds(max(max(values) for values in chosen.values()))
    medians = {row: significant(quantile(chosen[row], 0.5) * factor) for row in rows}
    label = f"{metric(name).name}, {scenario}, medians: " + "; ".join(
        f"{model} at {load_text(scenario, load)} {medians[load, model]} {unit}" for load, model in rows
    )
    with plot(
        f"box-{scenario}-{name}", label, height_inches=max(1.6, 0.9 + 0.165 * len(rows)), grid="x"
    ) as drawing:
        axes, places, place = drawing.axes, [], 0.0
        for number, (load, model) in enumerate(rows):
            place += 0 if number == 0 else 1 if rows[number - 1][0] == load else 1.8
            places.append(place)
            _draw_box(axes, [value * factor for value in chosen[load, model]], place, shades[model])
        axes.set_yticks(places, [letters[model] for _, model in rows])
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(place + 0.8, -0.8)
        _name_loads(axes, rows, places)
        _scale(axes, [value * factor for values in chosen.values() for value in values])
        axes.set_ylabel(LOADS[scenario], labelpad=26)
        axes.set_xlabel(unit)
        axes.set_title(f"{metric(name).label}, {scenario}")
    return drawing.finished()


def _draw_box(axes: Axes, values: list[float], place: float, colour: str) -> None:
    low, quarter, middle, upper, high = (quantile(values, share) for share in (0.1, 0.25, 0.5, 0.75, 0.9))
    axes.hlines(place, low, high, color=colour, linewidth=1)
    axes.barh(place, upper - quarter, left=quarter, height=0.6, color=colour, alpha=0.35, linewidth=0)
    axes.vlines(middle, place - 0.36, place + 0.36, color=colour, linewidth=2)
    if len(values) <= FEW_SAMPLES:
        axes.scatter(values, [place] * len(values), s=6, color=colour, alpha=0.7, linewidth=0)
    if len(values) >= 100:
        axes.plot(
            [quantile(values, 0.99)], [place], "o", markersize=3.5, color=colour, markerfacecolor=SURFACE
        )


def _name_loads(axes: Axes, rows: list[tuple[int, str]], places: list[float]) -> None:
    for load in dict.fromkeys(row[0] for row in rows):
        group = [place for row, place in zip(rows, places, strict=True) if row[0] == load]
        axes.annotate(
            f"{load:,}",
            (0, (group[0] + group[-1]) / 2),
            xycoords=axes.get_yaxis_transform(),
            xytext=(-19, 0),
            textcoords="offset points",
            ha="right",
            va="center",
            fontweight="bold",
        )


def _scale(axes: Axes, values: list[float]) -> None:
    smallest, largest = min(values), max(values)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
    if smallest <= 0 or largest / smallest < WIDE_RANGE:
        axes.xaxis.set_major_locator(MaxNLocator(5))
        return
    axes.set_xscale("log")
    ticks = [digit * 10.0**power for power in range(-6, 10) for digit in (1, 3)]
    axes.xaxis.set_major_locator(FixedLocator([t for t in ticks if smallest * 0.9 <= t <= largest * 1.1]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.6g}"))
