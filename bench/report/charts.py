"""The charts of gain: what quality costs, and how much of the possible speed-up was reached."""

from collections.abc import Sequence
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from ..judge.pareto import Better, pareto_front
from ..judge.trade_off import Point, points
from ..judge.wording import (
    LOADS,
    SCENARIOS,
    keys,
    load_text,
    metric,
    scaled_bytes,
)
from ..record.results import Comparison, Results
from ..record.samples import lost_points
from .chart_style import INK, MUTED, SURFACE, Chart, Legend, Panel, colours, model_legend, plot

__all__ = ["pareto_chart", "speedup_chart"]

MODELS_PER_PANEL = 4  # in the speed-up chart
WIDE_RANGE = 4  # largest over smallest speed-up from which its axis is logarithmic


def pareto_chart(results: Results, source: str) -> Chart | None:
    """Perplexity against decoding speed and against weight memory; None without quality."""
    found = points(results)
    if len(found) < 2:
        return None
    panels = []
    if sum(point.speedup is not None for point in found) > 1:
        panels.append(_trade_off(results, [p for p in found if p.speedup is not None], "speed"))
    panels.append(_trade_off(results, found, "memory"))
    return Chart(
        title="The trade-off",
        panels=panels,
        caption="Filled points are the Pareto front: no other model here is better in both directions. "
        "Horizontal bars: 95 % interval of the speed-up. Vertical bars: standard error of the perplexity "
        "relative to the original, paired window by window.",
        source=source,
        legend=model_legend([point.model for point in found], keys(results.models)),
    )


def _trade_off(results: Results, found: list[Point], kind: str) -> Panel:
    letters, shades = keys(results.models), colours([model.name for model in results.models])
    factor, unit = scaled_bytes(max(point.weight_bytes for point in found))
    speed = kind == "speed"
    across = "decode speed-up" if speed else f"weights, {unit}"
    label = f"Perplexity against {across}: " + "; ".join(
        f"{p.model} {_across(p, speed, factor):.3g}, perplexity {p.perplexity:.1f}" for p in found
    )
    with plot(f"pareto-{kind}", label, height_inches=2.9) as drawing:
        axes = drawing.axes
        wanted: Better = "higher" if speed else "lower"
        where = [(_across(p, speed, factor), p.perplexity) for p in found]
        best = [found[place] for place in pareto_front(where, (wanted, "lower"))]
        line = sorted((_across(p, speed, factor), p.perplexity) for p in best)
        axes.plot(*zip(*line, strict=True), color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
        for point in found:
            spread = None
            if speed and point.low is not None and point.high is not None and point.speedup is not None:
                spread = [[max(0.0, point.speedup - point.low)], [max(0.0, point.high - point.speedup)]]
            axes.errorbar(
                _across(point, speed, factor),
                point.perplexity,
                xerr=spread,
                yerr=point.perplexity_error,
                fmt="o",
                markersize=7,
                color=shades[point.model],
                markerfacecolor=shades[point.model] if point in best else SURFACE,
                elinewidth=1,
                markeredgewidth=1.5,
            )
        axes.margins(0.18, 0.2)
        names = [letters[p.model] for p in found]
        _place_labels(axes, [(*spot, name) for spot, name in zip(where, names, strict=True)], line)
        axes.set_xlabel(f"{across} ({'right' if speed else 'left'} is better)")
        axes.set_ylabel("perplexity (down is better)")
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
        if speed:
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.2f}x"))
    return drawing.finished()


def _across(point: Point, speed: bool, factor: float) -> float:
    return point.speedup or 1.0 if speed else point.weight_bytes * factor


def _place_labels(
    axes: Axes, marks: Sequence[tuple[float, float, str]], line: Sequence[tuple[float, float]]
) -> None:
    """Put each label where it is farthest from other points, the line and the labels already there."""
    axes.get_figure().draw_without_rendering()  # type: ignore[union-attr]
    spots = [axes.transData.transform(mark[:2]) for mark in marks]
    taken: list[tuple[float, float]] = [(float(x), float(y)) for x, y in spots]
    for (x, y), (a, b) in pairwise(axes.transData.transform(line) if len(line) > 1 else []):
        taken += [(x + (a - x) * part / 40, y + (b - y) * part / 40) for part in range(1, 40)]
    for (x, y), (across, up, text) in zip(spots, marks, strict=True):
        choices = [(dx, dy) for dx in (10, -10) for dy in (12, -12)]  # off the error bars

        def room(choice: tuple[int, int], x: float = x, y: float = y) -> float:
            return min(
                (x + choice[0] - a) ** 2 + (y + choice[1] - b) ** 2 for a, b in taken if (a, b) != (x, y)
            )

        best = max(choices, key=room) if len(taken) > 1 else choices[0]
        taken.append((x + best[0], y + best[1]))
        axes.annotate(
            text,
            (across, up),
            xytext=best,
            textcoords="offset points",
            ha="center",
            va="center",
            color=INK,
            fontweight="bold",
        )


def speedup_chart(results: Results, source: str) -> Chart | None:
    """Every speed-up with its interval and rounds, beside its ceiling; None without comparisons."""
    panels = []
    for scenario in SCENARIOS:
        metrics = dict.fromkeys(c.metric for c in results.comparisons if c.scenario == scenario)
        for name in metrics:
            chosen = [c for c in results.comparisons if (c.scenario, c.metric) == (scenario, name)]
            models = list(dict.fromkeys(c.model for c in chosen))
            for start in range(0, len(models), MODELS_PER_PANEL):
                some = models[start : start + MODELS_PER_PANEL]
                panels.append(_speedups(results, [c for c in chosen if c.model in some], some, start))
    if not panels:
        return None
    names = list(dict.fromkeys(comparison.model for comparison in results.comparisons))
    legend = model_legend(names, keys(results.models))
    if any(comparison.ceiling is not None for comparison in results.comparisons):
        legend.append(Legend(colour="--ink", shape="line", text="ceiling: bytes and FLOPs"))
    if any(comparison.kernel_ceiling is not None for comparison in results.comparisons):
        legend.append(Legend(colour="--muted", shape="dash", text="the same matrices timed alone"))
    if any(lost_points(results, scenario) for scenario in SCENARIOS):
        legend.append(Legend(colour="--muted", shape="cross", text="no number: failed or out of memory"))
    return Chart(
        title="Speed-up against the ceiling",
        panels=panels,
        caption="Points: median over rounds; bars: 95 % interval; faint dots: single rounds. Above 1x the "
        "narrow model is better than the original. Horizontal lines: the best that the machine's measured "
        "memory bandwidth and matrix rate allow at that width.",
        source=source,
        legend=legend,
    )


def _speedups(results: Results, chosen: list[Comparison], models: list[str], start: int) -> Panel:
    shades = colours([model.name for model in results.models])
    scenario, name = chosen[0].scenario, chosen[0].metric
    lost = [point for point in lost_points(results, scenario) if point[0] in models]
    loads = sorted({c.load for c in chosen} | {load for _, load in lost})
    title = f"{metric(name).label}, {scenario}"
    label = f"Speed-up in {metric(name).name}, {scenario}: " + "; ".join(
        [f"{c.model} at {load_text(scenario, c.load)} {c.speedup:.2f}x" for c in chosen]
        + [f"{model} at {load_text(scenario, load)} without a number" for model, load in lost]
    )
    with plot(f"speedup-{scenario}-{name}-{start}", label, grid="y") as drawing:
        axes = drawing.axes
        axes.axhline(1, color=INK, linewidth=0.8)
        step = 0.8 / len(models)
        for c in chosen:
            x = loads.index(c.load) + (models.index(c.model) - (len(models) - 1) / 2) * step
            _draw_speedup(axes, c, x, step, shades[c.model])
        for model, load in lost:
            x = loads.index(load) + (models.index(model) - (len(models) - 1) / 2) * step
            axes.plot(
                [x], [0.05], "x", transform=axes.get_xaxis_transform(), color=shades[model], markersize=5
            )
        axes.set_xticks(range(len(loads)), [f"{load:,}" for load in loads])
        axes.set_xlim(-0.6, len(loads) - 0.4)
        axes.set_xlabel(LOADS[scenario])
        axes.set_ylabel("speed-up")
        _scale(axes, chosen)
        axes.set_title(title)
    return drawing.finished()


def _scale(axes: Axes, chosen: list[Comparison]) -> None:
    """Linear; logarithmic when one wild round would press all else into a line."""
    values = [end for c in chosen for end in (c.low, c.high, *c.pairs) if end is not None]
    if max(values) / min(values) > WIDE_RANGE:
        axes.set_yscale("log")
        ticks = [digit * 10.0**power for power in range(-3, 4) for digit in (1, 2, 5)]
        axes.yaxis.set_major_locator(FixedLocator([t for t in ticks if min(values) <= t <= max(values)]))
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.2f}x"))


def _draw_speedup(axes: Axes, comparison: Comparison, x: float, step: float, colour: str) -> None:
    axes.scatter(
        [x - 0.22 * step] * len(comparison.pairs),
        comparison.pairs,
        s=5,
        color=colour,
        alpha=0.45,
        linewidth=0,
    )
    if comparison.low is not None and comparison.high is not None:
        axes.vlines(x, comparison.low, comparison.high, color=colour, linewidth=1.4)
    axes.plot([x], [comparison.speedup], "o", markersize=5, color=colour)
    for ceiling, shade, style in (
        (comparison.ceiling, INK, "solid"),
        (comparison.kernel_ceiling, MUTED, (0, (2, 1.2))),
    ):
        if ceiling is not None:
            axes.hlines(
                ceiling, x - 0.45 * step, x + 0.45 * step, color=shade, linewidth=1.5, linestyle=style
            )
