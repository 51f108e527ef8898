"""The chart of memory: weights, cache and peak of every model, predicted beside measured."""

from collections.abc import Callable
from dataclasses import dataclass

from ..judge.wording import bytes_text, keys, scaled_bytes
from ..record.results import Measurement, MemoryRecord, Results
from .chart_style import INK, SURFACE, Chart, Legend, Panel, colours, model_legend, plot

__all__ = ["memory_chart"]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of memory: what was predicted, what was measured, and each single measurement of it."""

    title: str
    predicted: Callable[[MemoryRecord], float | None]
    measured: Callable[[MemoryRecord], float | None]
    single: Callable[[Measurement], float | None]


def memory_chart(results: Results, source: str) -> Chart | None:
    """Bars by model; None without memory records."""
    records = results.memory
    if not records:
        return None
    kinds = [
        kind
        for kind in _kinds(records[0])
        if any(read(record) is not None for record in records for read in (kind.predicted, kind.measured))
    ]
    return Chart(
        title="Memory",
        panels=[_bars(results, kind) for kind in kinds],
        caption="Decimal units. A bar that is missing was not measured or cannot be known on this engine. "
        "Thin lines reach from the smallest to the largest measurement where there are several.",
        source=source,
        legend=[
            *model_legend([record.model for record in records], keys(results.models)),
            Legend(colour="--muted", shape="outline", text="predicted"),
            Legend(colour="--muted", shape="box", text="measured"),
        ],
    )


def _kinds(first: MemoryRecord) -> list[Kind]:
    tokens, on_gpu = first.reference_tokens, first.on_gpu
    return [
        Kind(
            title="Weights",
            predicted=lambda record: record.weight_bytes_predicted,
            measured=lambda record: record.weight_bytes_loaded,
            single=lambda measurement: measurement.weight_bytes_loaded,
        ),
        Kind(
            title=f"KV cache of {tokens:,} tokens",
            predicted=lambda record: record.kv_bytes_per_token_predicted * tokens,
            measured=lambda record: _times(record.kv_bytes_per_token_measured, tokens),
            single=lambda measurement: _times(measurement.kv_bytes_per_token, tokens),
        ),
        Kind(
            title="Peak GPU memory" if on_gpu else "Peak resident memory",
            predicted=lambda record: record.peak_bytes_predicted,
            measured=lambda record: record.peak_bytes_measured,
            single=lambda m: m.peak_gpu_memory_bytes if on_gpu else m.peak_memory_bytes,
        ),
    ]


def _times(value: float | None, tokens: int) -> float | None:
    return None if value is None else value * tokens


def _bars(results: Results, kind: Kind) -> Panel:
    records, shades = results.memory, colours([model.name for model in results.models])
    letters = keys(results.models)
    known = [size for r in records for size in (kind.predicted(r), kind.measured(r)) if size is not None]
    factor, unit = scaled_bytes(max(known))
    label = f"{kind.title}, predicted and measured: " + "; ".join(
        f"{r.model} {bytes_text(kind.predicted(r))} and {bytes_text(kind.measured(r))}" for r in records
    )
    height = 0.8 + 0.36 * len(records)
    with plot(f"memory-{kind.title}", label, height_inches=height, grid="x") as drawing:
        axes = drawing.axes
        for place, record in enumerate(records):
            shade, predicted, measured = shades[record.model], kind.predicted(record), kind.measured(record)
            if predicted is not None:
                axes.barh(
                    place - 0.2, predicted * factor, 0.32, color=SURFACE, edgecolor=shade, linewidth=1.1
                )
            if measured is not None:
                axes.barh(place + 0.2, measured * factor, 0.32, color=shade, edgecolor=shade, linewidth=1.1)
                single = _singles(results, record.model, kind)
                if len(single) > 1:
                    axes.hlines(
                        place + 0.2, min(single) * factor, max(single) * factor, color=INK, linewidth=1
                    )
        axes.set_yticks(range(len(records)), [letters[record.model] for record in records])
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(records) - 0.4, -0.6)
        axes.set_xlabel(unit)
        axes.set_title(kind.title)
    return drawing.finished()


def _singles(results: Results, model: str, kind: Kind) -> list[float]:
    """What each measurement of the memory scenario gave."""
    found = [
        kind.single(measurement)
        for measurement in results.measurements
        if (measurement.model, measurement.scenario, measurement.status) == (model, "memory", "ok")
    ]
    return [value for value in found if value is not None]
