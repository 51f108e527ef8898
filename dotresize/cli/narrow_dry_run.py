"""`dotresize compress --dry-run`: everything is checked, sizes and cost are predicted, nothing is done."""

from pathlib import Path
from typing import TYPE_CHECKING

from .narrow_run import check_run
from .output import emit, quiet_libraries, spinner

if TYPE_CHECKING:
    from ..compress.config import CompressConfig
    from ..plan.record import PlanRecord

__all__ = ["forecast_compress"]


def forecast_compress(
    model: str,
    output: Path,
    config: "CompressConfig",
    *,
    evaluation: list[str],
    evaluation_windows: int | None,
    force: bool,
    as_json: bool,
    plan: "PlanRecord | None" = None,
) -> None:
    """Refuse what `run_compress` would refuse, else say what it would give and take."""
    quiet_libraries()
    from ..plan.forecast import forecast
    from .tables_plan import forecast_tables

    opened, _ = check_run(model, output, config, evaluation, evaluation_windows, force, plan)
    with spinner("measuring how fast this machine multiplies"):
        found = forecast(opened, config)
    emit({"output": str(output), "forecast": found.to_dict()}, *forecast_tables(found), as_json=as_json)
