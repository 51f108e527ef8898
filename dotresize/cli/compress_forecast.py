"""`dotresize compress --dry-run`: everything is checked, sizes and cost are predicted, nothing is done."""

from .compress_check import CompressRun, check_run
from .output import emit, quiet_libraries, spinner

__all__ = ["forecast_compress"]


def forecast_compress(run: CompressRun) -> None:
    """Refuse what `run_compress` would refuse, else say what it would give and take."""
    quiet_libraries()
    from ..plan.forecast import forecast
    from .tables_plan import forecast_tables

    opened, _ = check_run(run)
    with spinner("measuring how fast this machine multiplies"):
        found = forecast(opened, run.config)
    emit(
        {"output": str(run.output), "forecast": found.to_dict()}, *forecast_tables(found), as_json=run.as_json
    )
