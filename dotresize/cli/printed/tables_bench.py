"""The comparison of two benchmark runs as rich tables."""

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from ...bench.judge.compare import Change

__all__ = ["change_record", "changes_table"]


def changes_table(changes: "list[Change]", fail_above: float | None = None) -> Table:
    """Every change with its 95 % interval; what got worse beyond its spread stands out.

    Args:
        changes: from `bench.judge.compare.compare`.
        fail_above: the limit as a fraction, None without one.
    """
    from ...bench.judge.compare import exceeds
    from ...bench.judge.wording import MISSING, load_text, metric, metric_value

    failing = [] if fail_above is None else exceeds(changes, fail_above)
    limit = "" if fail_above is None else f"; limit {fail_above:.3g} of the old value"
    table = Table(
        title=f"New against old: + is worse, with its 95 % interval{limit}",
        title_justify="left",
        title_style="bold",
    )
    for name in ("model", "scenario", "load", "metric"):
        table.add_column(name)
    for name in ("old", "new", "worse by", "95 % interval"):
        table.add_column(name, justify="right")
    table.add_column("")
    for change in changes:
        interval = MISSING
        if change.low is not None and change.high is not None:
            interval = f"{change.low:+.1%} to {change.high:+.1%}"
        table.add_row(
            change.model,
            change.scenario,
            MISSING if change.load is None else load_text(change.scenario, change.load),
            metric(change.metric).label,
            metric_value(change.metric, change.old),
            metric_value(change.metric, change.new),
            f"{change.worsening:+.1%}",
            interval,
            _verdict(change, change in failing),
        )
    return table


def _verdict(change: "Change", failing: bool) -> Text:
    if failing:
        return Text("worse: past the limit", style="bold red")
    if change.beyond_spread is None:
        return Text("spread unknown")
    if not change.beyond_spread:
        return Text("no difference", style="dim")
    return Text("worse") if change.worsening > 0 else Text("better", style="green")


def change_record(change: "Change") -> dict[str, object]:
    """JSON-ready: the fields of a change and whether it is beyond its spread."""
    from dataclasses import asdict

    return {**asdict(change), "beyond_spread": change.beyond_spread}
