"""`dotresize compress`: model + text -> a narrower stock model with its measured perplexity."""

from pathlib import Path
from typing import TYPE_CHECKING

from . import app
from .compress_check import CompressRun
from .compress_forecast import forecast_compress
from .compress_run import run_compress
from .lists import number_or_fraction
from .options.groups import grouped
from .options.method import MethodOptions
from .options.run import DryRun, Force, Json, MachineOptions, Model, Output
from .options.texts import CalibrationOptions, Evaluation, EvaluationWindows
from .options.widths import Plan, WidthOptions

if TYPE_CHECKING:
    from ..plan.record import PlanRecord


@app.command("compress", rich_help_panel="Compress")
@grouped
def compress_command(
    model: Model,
    output: Output,
    width_options: WidthOptions,
    method: MethodOptions,
    texts: CalibrationOptions,
    machine: MachineOptions,
    plan: Plan = None,
    evaluation: Evaluation = None,
    evaluation_windows: EvaluationWindows = None,
    force: Force = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Narrow a model and write it as a stock checkpoint, with its perplexity beside the original's.

    An interrupted run resumes when the same command is given again.
    """
    from ..compress.config import CompressConfig

    widths = {
        name: number_or_fraction(name.replace("_", "-"), text) for name, text in vars(width_options).items()
    }
    record = None if plan is None else _planned(plan, widths)
    config = CompressConfig(
        **widths,  # type: ignore[arg-type]
        **vars(method),  # CompressConfig checks the choices
        calibration=tuple(texts.calibration or ["builtin"]),
        calibration_windows=texts.calibration_windows,
        window_tokens=texts.window_tokens,
        **vars(machine),
    )
    run = CompressRun(
        model=model,
        output=output,
        config=config,
        evaluation=tuple(evaluation or ["builtin"]),
        evaluation_windows=evaluation_windows,
        force=force,
        as_json=as_json,
        plan=record,
    )
    forecast_compress(run) if dry_run else run_compress(run)


def _planned(plan: Path, widths: dict[str, float | None]) -> "PlanRecord":
    """The plan, whose widths are set.

    Raises:
        OptionError: widths were given beside it.
        InputError: it is no plan.
    """
    from ..errors import OptionError
    from ..plan.record import planned_options, read_plan

    given = [f"--{name.replace('_', '-')}" for name, value in widths.items() if value is not None]
    if given:
        raise OptionError(f"--plan was given beside {', '.join(given)}; give the plan or widths, not both.")
    record = read_plan(plan)
    widths.update(planned_options(record))
    return record
