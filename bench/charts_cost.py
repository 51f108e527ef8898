"""The charts of cost: memory by model, and where the time of the ceiling goes, part by part."""

from collections.abc import Sequence
from statistics import median

from .chart_style import (
    INK,
    SURFACE,
    Chart,
    Legend,
    Panel,
    colours,
    model_legend,
    part_colours,
    plot,
    variable,
)
from .results import Ceiling, MemoryRecord, Results
from .samples import pooled
from .wording import bytes_text, keys, scaled_bytes, scaled_seconds, seconds_text

__all__ = ["memory_chart", "part_chart"]

STEP_METRIC = {"decode": "tpot_seconds", "prefill": "ttft_seconds"}  # what is measured of each phase


def memory_chart(results: Results, source: str) -> Chart | None:
    """Weights, cache and peak, predicted beside measured; None without memory records."""
    records = results.memory
    if not records:
        return None
    tokens = records[0].reference_tokens
    place = "GPU memory" if records[0].on_gpu else "resident memory"
    kinds: list[tuple[str, list[float | None], list[float | None]]] = [
        ("Weights", [r.weight_bytes_predicted for r in records], [r.weight_bytes_loaded for r in records]),
        (
            f"KV cache of {tokens:,} tokens",
            [r.kv_bytes_per_token_predicted * tokens for r in records],
            [
                None if r.kv_bytes_per_token_measured is None else r.kv_bytes_per_token_measured * tokens
                for r in records
            ],
        ),
        (
            f"Peak {place}",
            [r.peak_bytes_predicted for r in records],
            [r.peak_bytes_measured for r in records],
        ),
    ]
    panels = [
        _bars(results, records, title, predicted, measured)
        for title, predicted, measured in kinds
        if any(value is not None for value in [*predicted, *measured])
    ]
    legend = model_legend([record.model for record in records], keys(results.models))
    return Chart(
        title="Memory",
        panels=panels,
        caption="Decimal units. A bar that is missing was not measured or cannot be known on this engine.",
        source=source,
        legend=[
            *legend,
            Legend(colour="--muted", shape="outline", text="predicted"),
            Legend(colour="--muted", shape="box", text="measured"),
        ],
    )


def _bars(
    results: Results,
    records: Sequence[MemoryRecord],
    title: str,
    predicted: list[float | None],
    measured: list[float | None],
) -> Panel:
    letters, shades = keys(results.models), colours([model.name for model in results.models])
    factor, unit = scaled_bytes(max(value for value in [*predicted, *measured] if value is not None))
    label = f"{title}, predicted and measured: " + "; ".join(
        f"{record.model} {bytes_text(first)} and {bytes_text(second)}"
        for record, first, second in zip(records, predicted, measured, strict=True)
    )
    with plot(f"memory-{title}", label, height_inches=0.8 + 0.36 * len(records), grid="x") as drawing:
        axes = drawing.axes
        for place, record in enumerate(records):
            shade, first, second = shades[record.model], predicted[place], measured[place]
            if first is not None:
                axes.barh(place - 0.2, first * factor, 0.32, color=SURFACE, edgecolor=shade, linewidth=1.1)
            if second is not None:
                axes.barh(place + 0.2, second * factor, 0.32, color=shade, edgecolor=shade, linewidth=1.1)
        axes.set_yticks(range(len(records)), [letters[record.model] for record in records])
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(records) - 0.4, -0.6)
        axes.set_xlabel(unit)
        axes.set_title(title)
    return drawing.finished()


def part_chart(results: Results, source: str) -> Chart | None:
    """The shortest possible time by part, with the measured time beside it; None without ceilings."""
    if not results.ceilings:
        return None
    parts = list(dict.fromkeys(part for ceiling in results.ceilings for part in ceiling.seconds_by_part))
    groups: dict[tuple[str, int], list[Ceiling]] = {}
    for ceiling in results.ceilings:
        groups.setdefault((ceiling.phase, ceiling.batch_size), []).append(ceiling)
    shades = part_colours(parts)
    timed = any(ceiling.kernel_seconds_by_part for ceiling in results.ceilings)
    legend = [Legend(colour=variable(shades[part]), shape="box", text=part) for part in parts]
    lower = "Lower bar: the same matrices timed alone, which is what a perfect engine would need. "
    return Chart(
        title="Where the time goes",
        panels=[_stacks(results, key, ceilings, shades) for key, ceilings in groups.items()],
        caption="Upper bar: the shortest time that the machine's measured rates allow. "
        + (lower if timed else "")
        + "The diamond is the measured median; what lies between is the engine's overhead. Rows: models.",
        source=source,
        legend=[
            *legend,
            Legend(colour="--ink", shape="diamond", text="measured"),
            *model_legend(
                list(dict.fromkeys(ceiling.model for ceiling in results.ceilings)), keys(results.models)
            ),
        ],
    )


def _stacks(
    results: Results, key: tuple[str, int], ceilings: Sequence[Ceiling], shades: dict[str, str]
) -> Panel:
    phase, size = key
    letters, samples = keys(results.models), pooled(results)
    measured = {
        ceiling.model: median(values)
        for ceiling in ceilings
        if (values := samples.get((ceiling.model, "latency", size, STEP_METRIC[phase])))
    }
    longest = [ceiling.seconds for ceiling in ceilings] + list(measured.values())
    longest += [sum((ceiling.kernel_seconds_by_part or {}).values()) for ceiling in ceilings]
    factor, unit = scaled_seconds(max(longest))
    label = f"Shortest time of {phase} at batch size {size} and the measured one: " + "; ".join(
        f"{c.model} {seconds_text(c.seconds)}, measured {seconds_text(measured.get(c.model))}"
        for c in ceilings
    )
    with plot(f"parts-{phase}-{size}", label, height_inches=0.8 + 0.32 * len(ceilings), grid="x") as drawing:
        axes = drawing.axes
        for place, ceiling in enumerate(ceilings):
            for times, offset in ((ceiling.seconds_by_part, -0.18), (ceiling.kernel_seconds_by_part, 0.18)):
                start = 0.0
                for part, seconds in (times or {}).items():
                    colour = shades.get(part, INK)
                    axes.barh(
                        place + offset,
                        seconds * factor,
                        0.32,
                        left=start,
                        color=colour,
                        linewidth=0.4,
                        edgecolor=SURFACE,
                    )
                    start += seconds * factor
            if ceiling.model in measured:
                axes.plot(
                    [measured[ceiling.model] * factor],
                    [place],
                    "D",
                    markersize=6,
                    color=INK,
                    markeredgecolor=SURFACE,
                )
        axes.set_yticks(range(len(ceilings)), [letters[ceiling.model] for ceiling in ceilings])
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(ceilings) - 0.4, -0.6)
        axes.set_xlim(left=0)
        axes.set_xlabel(unit)
        unit_of_work = "one step" if phase == "decode" else "whole input"
        axes.set_title(f"{phase}, {unit_of_work}, batch size {size}")
    return drawing.finished()
