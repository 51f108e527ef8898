"""`dotresize recover`: a narrowed checkpoint learns from its original."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .asked.push import checked_target, pushed
from .asked.recipes import RECIPE_NAME, recipe_text
from .options.dtypes import canonical
from .options.groups import grouped
from .options.hub import HubOptions
from .options.run import AnswerOptions, ComputeOptions, Output, Recipe
from .options.texts import Text
from .options.training import Teacher, Tensorboard, TrainingOptions
from .printed.output import emit, note_console, quiet_libraries

if TYPE_CHECKING:
    from rich.table import Table

    from ..export.contract.recovery import Recovery
    from ..recover.ask.config import RecoverConfig


@grouped
def recover(
    narrow: Annotated[str, typer.Argument(help="What `dotresize compress` wrote.")],
    teacher: Teacher,
    output: Output,
    text: Text,
    training: TrainingOptions,
    compute: ComputeOptions,
    answer: AnswerOptions,
    hub: HubOptions,
    tensorboard: Tensorboard = None,
    recipe: Recipe = None,
    *,
    ctx: typer.Context,
) -> None:
    """Win back by distillation what narrowing lost. Experimental.

    The best state on held-out windows of each text is written, or the start if none was better. An
    interrupted run resumes when the same command is given again. Several GPUs: torchrun -m dotresize recover.
    """
    quiet_libraries()
    from ..export.disk.staging import write_atomically
    from ..recover.pipeline import run
    from .printed.progress import ProgressBar

    config = _config(text, training, compute)
    target = checked_target(hub)
    with ProgressBar() as progress:
        done = run(
            narrow,
            teacher,
            output,
            config,
            progress=progress,
            say=lambda line: note_console().print(line, markup=False),
            dry_run=answer.dry_run,
            force=answer.force,
            tensorboard=tensorboard,
        )
    data: dict[str, Any] = {"output": str(output), "estimate": done.estimate.to_dict(), "recovery": None}
    if done.record is None or done.record.recovery is None:
        emit(data, as_json=answer.as_json)
        return
    write_atomically(output / RECIPE_NAME, recipe_text(ctx))
    data["hub"] = pushed(output, target)
    data["recovery"] = done.record.to_dict()["recovery"]
    emit(data, _table(done.record.recovery, output), as_json=answer.as_json)


def _config(text: list[str], training: TrainingOptions, compute: ComputeOptions) -> "RecoverConfig":
    from ..recover.ask.config import RecoverConfig

    values = {**vars(training), "warmup": training.warmup_steps}
    del values["warmup_steps"]
    precision: Any = canonical(compute.dtype)  # RecoverConfig checks the choices
    return RecoverConfig(
        text=tuple(text), precision=precision, device=compute.device, seed=compute.seed, **values
    )


def _table(recovery: "Recovery", output: Path) -> "Table":
    from rich.table import Table
    from rich.text import Text

    start = recovery.curve[0]
    best = next(point for point in recovery.curve if point.step == recovery.best_step)
    outcome = (
        f"step {best.step} of {recovery.curve[-1].step}"
        if best.step
        else "nothing improved: the start's weights"
    )
    table = Table("held-out text", "KL at the start", "KL now", title=Text(f"{output}: {outcome}"))
    for name, before in start.held_out_kl.items():
        table.add_row(Text(name), f"{before:.4f}", f"{best.held_out_kl[name]:.4f}")
    return table
