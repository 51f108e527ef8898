"""`dotresize compress`: model + text -> a narrower stock model with its measured perplexity."""

from dataclasses import replace
from typing import Any

import typer

from ..asked.lists import number_or_fraction
from ..asked.push import checked_target
from ..asked.recipes import recipe_text
from ..options.budget import BudgetOptions
from ..options.groups import grouped
from ..options.hub import HubOptions
from ..options.method import MethodOptions
from ..options.run import AnswerOptions, MachineOptions, Model, Output, Recipe, Revision, StreamMemory
from ..options.texts import CalibrationOptions, Evaluation, EvaluationWindows
from ..options.widths import Plan, WidthOptions
from .check import CompressRun, check_options
from .forecast import forecast_compress
from .plan import planned, without_axis
from .run import run_compress


@grouped
def compress_command(
    model: Model,
    output: Output,
    widths: WidthOptions,
    budget: BudgetOptions,
    method: MethodOptions,
    texts: CalibrationOptions,
    machine: MachineOptions,
    answer: AnswerOptions,
    hub: HubOptions,
    plan: Plan = None,
    evaluation: Evaluation = None,
    evaluation_windows: EvaluationWindows = None,
    revision: Revision = None,
    stream_memory: StreamMemory = None,
    recipe: Recipe = None,
    *,
    ctx: typer.Context,
) -> None:
    """Narrow a model and write it as a stock checkpoint, with its perplexity beside the original's.

    New widths are given, come from a plan, or are planned for a budget first. An interrupted run resumes when
    the same command is given again. Several GPUs: torchrun --nproc-per-node N -m dotresize compress.
    """
    from ...compress.record.config import CompressConfig

    chosen = _typed(widths)
    shared = {**texts.chosen(), **vars(machine)}
    run = CompressRun(
        model=model,
        output=output,
        config=CompressConfig(**shared, **without_axis(method), mlp_width=0.5),  # until widths are known
        evaluation=tuple(evaluation or ["builtin"]),
        evaluation_windows=evaluation_windows,
        force=answer.force,
        as_json=answer.as_json,
        revision=revision,
        stream_memory=stream_memory,
    )
    target = checked_target(hub)
    check_options(run, dry_run=answer.dry_run, plans=budget != BudgetOptions())
    record = planned(run, plan, budget, chosen, dry_run=answer.dry_run)
    if record is not None:
        chosen = {**record.options}
    repeated = recipe_text(
        ctx, instead=chosen if record else None, without=("plan", *vars(budget)) if record else ()
    )
    run = replace(
        run,
        config=CompressConfig(**chosen, **vars(method), **shared),
        plan=record,
        recipe=repeated,
        hub=target,
    )
    (forecast_compress if answer.dry_run else run_compress)(run)


def _typed(widths: WidthOptions) -> dict[str, Any]:
    """By the fields of `CompressConfig`; None for axes that stay."""
    return {name: number_or_fraction(name.replace("_", "-"), text) for name, text in vars(widths).items()}
