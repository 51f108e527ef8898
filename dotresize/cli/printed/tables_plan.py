"""Forecasts and plans as rich tables."""

from pathlib import Path
from typing import TYPE_CHECKING

from .tables import plain_table, sizes_table

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from ...compress.families.family import Axis
    from ...plan.record import PlanRecord, Point
    from ...plan.run_cost.forecast import Forecast, RunCost

__all__ = ["forecast_tables", "plan_tables", "run_cost_table"]


def forecast_tables(found: "Forecast") -> "list[RenderableType]":
    """Sizes and cost of a run that was not started."""
    notes = [f"note: {note}" for note in found.notes]
    last = "\n".join([*notes, "dry run: no weight was read and nothing was written"])
    return [sizes_table(found.sizes), run_cost_table(found.cost, found.device), last]


def run_cost_table(cost: "RunCost", device: str) -> "Table":
    """What the run would take."""
    table = plain_table(f"Predicted cost on {device}", "", "")
    table.add_row("calibration tokens", f"{cost.calibration_tokens:,}")
    table.add_row("survey and fits, if nothing else runs", _duration(cost.seconds))
    table.add_row("peak resident memory", f"{cost.peak_memory_bytes / 1e9:.2f} GB")
    table.add_row("weights written", _size(cost.output_bytes))
    table.add_row("disk, at most", _size(cost.disk_bytes))
    return table


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def plan_tables(record: "PlanRecord", output: Path) -> "list[RenderableType]":
    """What was chosen, beside each axis alone and the rest of the front, and what the run will cost."""
    rows = [("chosen", record.chosen)]
    rows += [(f"{', '.join(record.moved(point))} alone", point) for point in record.single_axes]
    seen = {point.candidate for _, point in rows}
    rows += [("front", point) for point in record.front if point.candidate not in seen]
    axes = [axis for axis in record.chosen.widths if any(axis in record.moved(one) for _, one in rows)]
    speed = record.speed_of is not None
    table = plain_table(
        f"Plan for {record.model}",
        "",
        *("groups" if axis == "kv_groups" else axis for axis in axes),
        "in layers",
        "share",
        "weights",
        *(["with cache"] if record.budget.memory_bytes is not None else []),
        *(["speed-up"] if speed else []),
        "proxy",
        *(["KL"] if record.evaluations else []),
    )
    for name, point in rows:
        table.add_row(
            *_row(record, name, point, axes, speed=speed), style="bold" if name == "chosen" else None
        )
    last = [f"note: {note}" for note in record.notes]
    last += [f"written: {output}", f"do it: dotresize compress {record.model} -o OUT --plan {output}"]
    if speed:
        last.insert(0, f"decode speed-up: {_told_speed(record)}")
    if record.evaluations:
        last.insert(
            0, f"KL in nats per token after small fits, {record.evaluations} measured; compress does better"
        )
    return [table, run_cost_table(record.cost, "this machine"), "\n".join(last)]


def _told_speed(record: "PlanRecord") -> str:
    rates = f"at the rates of {record.speed_of}, {record.speed_origin}"
    step = record.step
    if step is None:
        return f"what bytes and FLOPs allow {rates}"
    return (
        f"{record.engine}'s as measured here: {step.roofline_factor:.2f} times what bytes and FLOPs take "
        f"{rates}, {1e3 * step.layer_seconds:.2f} ms for each layer, {1e3 * step.fixed_seconds:.2f} ms a step"
    )


def _row(record: "PlanRecord", name: str, point: "Point", axes: list["Axis"], *, speed: bool) -> list[str]:
    predicted, measured = point.predicted, point.quality.kl_nats_per_token
    whole = record.original.layer_parameters
    return [
        name,
        *(f"{point.widths[axis]:,}" for axis in axes),
        f"{predicted.layer_parameters / 1e6:,.1f} M",
        f"{predicted.layer_parameters / whole:.1%}",
        _size(predicted.weight_bytes),
        *([_size(predicted.memory_bytes)] if record.budget.memory_bytes is not None else []),
        *([f"{predicted.decode_speedup:.2f}x"] if speed and predicted.decode_speedup else []),
        f"{point.quality.proxy:.3f}",
        *(["" if measured is None else f"{measured:.3f}"] if record.evaluations else []),
    ]


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
