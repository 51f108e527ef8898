"""`dotresize compress --dry-run`: everything is checked, sizes and cost are predicted, nothing is done."""

from ..printed.output import emit, quiet_libraries, spinner
from .check import CompressRun, check_run

__all__ = ["forecast_compress"]


def forecast_compress(run: CompressRun) -> None:
    """Refuse what `run_compress` would refuse, else say what it would give and take."""
    quiet_libraries()
    from ...plan.run_cost.forecast import forecast
    from ..printed.tables_plan import forecast_tables

    opened, _ = check_run(run)
    with spinner("measuring how fast this machine multiplies"):
        found = forecast(opened, run.config)
    emit(
        {"output": str(run.output), "forecast": found.to_dict()}, *forecast_tables(found), as_json=run.as_json
    )
