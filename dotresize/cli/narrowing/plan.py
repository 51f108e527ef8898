"""Where `dotresize compress` takes widths from that were not typed: a plan, or one made for a budget."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..asked.budgets import has_budget, settings_of, workers_of
from ..options.budget import BudgetOptions
from ..options.method import MethodOptions
from ..printed.output import note_console, quiet_libraries
from .check import CompressRun, check_run

if TYPE_CHECKING:
    from ...plan.record import PlanRecord
    from ...plan.settings import PlanSettings
    from ...plan.workers import Workers

__all__ = ["plan_path", "planned", "without_axis"]


def planned(
    run: CompressRun, plan: Path | None, budget: BudgetOptions, widths: dict[str, Any], *, dry_run: bool
) -> "PlanRecord | None":
    """The plan that was named, or one for the budget; None where widths were typed.

    Args:
        run: As it was asked for; the widths of its configuration do not count.
        plan: A file.
        budget: As it was typed.
        widths: Those that were typed, None for others.
        dry_run: Nothing may be computed.

    Raises:
        OptionError: widths come from two places, or from a budget without computing.
        DotresizeError: no plan can be read or made.
    """
    from ...errors import OptionError
    from ...plan.record import read_plan

    within = has_budget(budget)
    given = [f"--{name.replace('_', '-')}" for name, value in widths.items() if value is not None]
    given += ["a budget"] if within and plan is not None else []
    if given and (within or plan is not None):
        source = "--plan" if plan is not None else "a budget"
        raise OptionError(f"{source} was given beside {', '.join(given)}; give the plan or widths, not both.")
    if within and dry_run:
        raise OptionError(
            "--dry-run reads no weight, and a plan for a budget does; `dotresize plan` predicts what the run "
            "will take."
        )
    if plan is not None:
        return read_plan(plan)
    return _plan_within(run, budget) if within else None


def without_axis(method: MethodOptions) -> dict[str, Any]:
    """The options of the method that have an effect whatever axis changes."""
    bound = ("method", "mlp_method", "reg", "signed", "mass")
    return {name: value for name, value in vars(method).items() if name not in bound}


def plan_path(output: Path) -> Path:
    """Where the plan for an output lies: beside it."""
    return output.with_name(f"{output.name}.plan.json")


def _plan_within(run: CompressRun, budget: BudgetOptions) -> "PlanRecord":
    """That of an earlier run that asked for the same, or a new one."""
    quiet_libraries()
    evaluation = ["builtin"] if "none" in run.evaluation else run.evaluation
    settings, path = settings_of(budget, run.config, evaluation), plan_path(run.output)
    record = _kept(path, settings.hashed(run.model))
    if record is None:
        record = _made(run, settings, workers_of(budget), path)
    changes = ", ".join(
        f"{axis} {record.own[axis]} -> {value}"
        for axis, value in record.chosen.widths.items()
        if value != record.own[axis]
    )
    note_console().print(f"planned: {changes} (in {path})", markup=False, highlight=False, soft_wrap=True)
    return record


def _kept(path: Path, asked: str) -> "PlanRecord | None":
    from ...errors import InputError
    from ...plan.record import read_plan

    if not path.is_file():
        return None
    try:
        record = read_plan(path)
    except InputError:
        return None  # in the way, as whoever writes there says
    return record if record.asked == asked else None


def _made(run: CompressRun, settings: "PlanSettings", workers: "Workers", path: Path) -> "PlanRecord":
    from ...export.disk.staging import check_writable
    from ...plan.planner import plan_widths
    from ...plan.record import check_plan_free, write_plan
    from ..printed.progress import ProgressBar
    from .check import refuse_same_text

    check_plan_free(path, force=run.force)
    check_writable(path)
    check_run(run)  # before hours are spent on a plan for a run that cannot be
    refuse_same_text(settings.base, list(settings.evaluation))
    with ProgressBar() as progress:
        record, state = plan_widths(run.model, settings, progress=progress, output=path, workers=workers)
    write_plan(record, path, force=run.force)
    if state is not None:
        state.discard()
    return record
