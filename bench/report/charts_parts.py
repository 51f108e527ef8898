"""The chart of the ceiling's time: which part of a model takes it, and what the engine adds."""

from collections.abc import Sequence

from matplotlib.axes import Axes

from ..judge.wording import keys, scaled_seconds, seconds_text
from ..record.results import Ceiling, Results
from ..record.samples import pooled, quantile
from ..roofline.ceiling import seconds_by_part
from .chart_style import (
    INK,
    SURFACE,
    Chart,
    Legend,
    Panel,
    model_legend,
    part_colours,
    plot,
    variable,
)

__all__ = ["part_chart"]

STEP_METRIC = {"decode": "tpot_seconds", "prefill": "ttft_seconds"}  # what is measured of each phase
WORK = {"decode": "one step", "prefill": "whole input"}


def part_chart(results: Results, source: str) -> Chart | None:
    """The shortest possible time by part, with the measured time beside it; None without ceilings."""
    chosen = _measured_sizes(results)
    if not chosen:
        return None
    shades = part_colours(list(dict.fromkeys(part for c in results.ceilings for part in c.seconds_by_part)))
    groups: dict[tuple[str, int], list[Ceiling]] = {}
    for ceiling in chosen:
        groups.setdefault((ceiling.phase, ceiling.batch_size), []).append(ceiling)
    lower = "Lower bar: the same matrices timed alone, which is what a perfect engine would need. "
    timed = any(ceiling.kernel_seconds_by_part for ceiling in chosen)
    legend = [Legend(colour=variable(shade), shape="box", text=part) for part, shade in shades.items()]
    models = list(dict.fromkeys(ceiling.model for ceiling in chosen))
    return Chart(
        title="Where the time goes",
        panels=[_stacks(results, groups[key], shades) for key in sorted(groups)],  # decode first
        caption="Upper bar: the shortest time that the machine's measured rates allow. "
        + (lower if timed else "")
        + "Diamond: the measured median, with a line from the 10th to the 90th percentile; what lies between "
        "is the engine's overhead.",
        source=source,
        legend=[
            *legend,
            Legend(colour="--ink", shape="diamond", text="measured"),
            *model_legend(models, keys(results.models)),
        ],
    )


def _measured_sizes(results: Results) -> list[Ceiling]:
    """The ceilings of batch sizes that the latency scenario measured, or all when it was left out."""
    sizes = {m.load for m in results.measurements if m.scenario == "latency"}
    return [ceiling for ceiling in results.ceilings if ceiling.batch_size in sizes] or results.ceilings


def _stacks(results: Results, group: Sequence[Ceiling], shades: dict[str, str]) -> Panel:
    phase, size = group[0].phase, group[0].batch_size
    letters, samples = keys(results.models), pooled(results)
    measured = {c.model: samples.get((c.model, "latency", size, STEP_METRIC[phase]), []) for c in group}
    longest = [quantile(values, 0.9) for values in measured.values() if values]
    longest += [sum(seconds_by_part(c, kernels=timed).values()) for c in group for timed in (False, True)]
    factor, unit = scaled_seconds(max(longest))
    medians = {model: quantile(values, 0.5) if values else None for model, values in measured.items()}
    label = f"Shortest time of {phase} at batch size {size} and the measured one: " + "; ".join(
        f"{c.model} {seconds_text(c.seconds)}, measured {seconds_text(medians[c.model])}" for c in group
    )
    height = 0.8 + 0.32 * len(group)
    with plot(f"parts-{phase}-{size}", label, height_inches=height, grid="x") as drawing:
        axes = drawing.axes
        for place, ceiling in enumerate(group):
            _draw_bar(axes, place - 0.18, seconds_by_part(ceiling, kernels=False), factor, shades)
            if ceiling.kernel_seconds_by_part:
                _draw_bar(axes, place + 0.18, seconds_by_part(ceiling, kernels=True), factor, shades)
            _draw_measured(axes, place, [value * factor for value in measured[ceiling.model]])
        axes.set_yticks(range(len(group)), [letters[ceiling.model] for ceiling in group])
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(group) - 0.4, -0.6)
        axes.set_xlim(left=0)
        axes.set_xlabel(unit)
        axes.set_title(f"{phase}, {WORK[phase]}, batch size {size}")
    return drawing.finished()


def _draw_bar(
    axes: Axes, place: float, seconds: dict[str, float], factor: float, shades: dict[str, str]
) -> None:
    start = 0.0
    for part, value in seconds.items():
        width, colour = value * factor, shades.get(part, INK)
        axes.barh(place, width, 0.32, left=start, color=colour, linewidth=0.4, edgecolor=SURFACE)
        start += width


def _draw_measured(axes: Axes, place: float, values: list[float]) -> None:
    if values:
        axes.hlines(place, quantile(values, 0.1), quantile(values, 0.9), color=INK, linewidth=1)
        axes.plot([quantile(values, 0.5)], [place], "D", markersize=6, color=INK, markeredgecolor=SURFACE)
