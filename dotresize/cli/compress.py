"""`dotresize compress`: model + text -> a narrower stock model with its measured perplexity."""

from dataclasses import replace
from typing import Any

from . import app
from .compress_check import CompressRun, check_options
from .compress_forecast import forecast_compress
from .compress_plan import planned, without_axis
from .compress_run import run_compress
from .lists import number_or_fraction
from .options.budget import BudgetOptions
from .options.groups import grouped
from .options.method import MethodOptions
from .options.run import DryRun, Force, Json, MachineOptions, Model, Output, Revision, StreamMemory
from .options.texts import CalibrationOptions, Evaluation, EvaluationWindows
from .options.widths import Plan, WidthOptions


@app.command("compress", rich_help_panel="Compress")
@grouped
def compress_command(
    model: Model,
    output: Output,
    widths: WidthOptions,
    budget: BudgetOptions,
    method: MethodOptions,
    texts: CalibrationOptions,
    machine: MachineOptions,
    plan: Plan = None,
    evaluation: Evaluation = None,
    evaluation_windows: EvaluationWindows = None,
    force: Force = False,
    dry_run: DryRun = False,
    revision: Revision = None,
    stream_memory: StreamMemory = None,
    as_json: Json = False,
) -> None:
    """Narrow a model and write it as a stock checkpoint, with its perplexity beside the original's.

    New widths are given, come from a plan, or are planned for a budget first. An interrupted run resumes when
    the same command is given again.
    """
    from ..compress.config import CompressConfig

    chosen: dict[str, Any] = {
        name: number_or_fraction(name.replace("_", "-"), text) for name, text in vars(widths).items()
    }
    shared: dict[str, Any] = {
        "calibration": tuple(texts.calibration or ["builtin"]),
        "calibration_windows": texts.calibration_windows,
        "window_tokens": texts.window_tokens,
        **vars(machine),
    }
    run = CompressRun(
        model=model,
        output=output,
        config=CompressConfig(
            **shared, **without_axis(method), intermediate_size=0.5
        ),  # until widths are known
        evaluation=tuple(evaluation or ["builtin"]),
        evaluation_windows=evaluation_windows,
        force=force,
        as_json=as_json,
        revision=revision,
        stream_memory=stream_memory,
    )
    check_options(run, dry_run=dry_run, plans=budget != BudgetOptions())
    record = planned(run, plan, budget, chosen, dry_run=dry_run)
    if record is not None:
        from ..plan.record import planned_options

        chosen = {**planned_options(record)}
    config = CompressConfig(**chosen, **vars(method), **shared)
    (forecast_compress if dry_run else run_compress)(replace(run, config=config, plan=record))
