"""`dotresize plan`: a budget -> new widths, before an hour is spent."""

from pathlib import Path
from typing import TYPE_CHECKING

from .asked.budgets import settings_of, workers_of
from .options.budget import BudgetOptions
from .options.groups import grouped
from .options.run import Effort, Force, Json, MachineOptions, Model, Output
from .options.texts import CalibrationOptions, Evaluation
from .printed.output import emit, quiet_libraries

if TYPE_CHECKING:
    from ..plan.settings import PlanSettings
    from ..plan.workers import Workers

__all__ = ["plan_command"]


@grouped
def plan_command(
    model: Model,
    budget: BudgetOptions,
    texts: CalibrationOptions,
    machine: MachineOptions,
    output: Output = Path("plan.json"),
    effort: Effort = None,
    evaluation: Evaluation = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Find the widths for a budget: hidden size, MLP, key-value groups, layers and experts together.

    An interrupted search resumes when the same command is given again. `dotresize compress MODEL -o OUT
    --plan plan.json` then does what was planned.
    """
    quiet_libraries()
    from ..compress.record.config import CompressConfig

    base = CompressConfig(mlp_width=0.5, **texts.chosen(), **vars(machine))  # candidates set their own widths
    settings = settings_of(budget, base, evaluation or ["builtin"], effort=effort or "standard")
    _plan(model, output, settings, workers_of(budget), force=force, as_json=as_json)


def _plan(
    model: str, output: Path, settings: "PlanSettings", workers: "Workers", *, force: bool, as_json: bool
) -> None:
    from dataclasses import asdict

    from ..export.disk.staging import check_writable
    from ..plan.planner import plan_widths
    from ..plan.record import check_plan_free, write_plan
    from .narrowing.check import refuse_same_text
    from .printed.progress import ProgressBar
    from .printed.tables_plan import plan_tables

    check_plan_free(output, force=force)
    check_writable(output)
    refuse_same_text(settings.base, list(settings.evaluation))
    with ProgressBar() as progress:
        record, state = plan_widths(model, settings, progress=progress, output=output, workers=workers)
    write_plan(record, output, force=force)
    if state is not None:
        state.discard()
    emit({"output": str(output), "plan": asdict(record)}, *plan_tables(record, output), as_json=as_json)
