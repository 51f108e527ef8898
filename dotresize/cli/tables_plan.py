"""Forecasts and plans as rich tables."""

from typing import TYPE_CHECKING

from .tables import plain_table, sizes_table

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from ..plan.forecast import Forecast, RunCost

__all__ = ["forecast_tables", "run_cost_table"]


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
    table.add_row("weights written", f"{cost.output_bytes / 1e9:.2f} GB")
    table.add_row("disk, at most", f"{cost.disk_bytes / 1e9:.2f} GB")
    return table


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
