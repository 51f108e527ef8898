"""`dotresize recover`: a narrowed checkpoint learns from its original."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import app
from .options.dtypes import canonical
from .options.run import Device, DryRun, Dtype, Force, Json, Minutes, Output, Seed
from .options.serving import Temperature
from .options.texts import Text, WindowTokens
from .options.training import (
    ActivationCheckpointing,
    BatchWindows,
    Beta2,
    ClipNorm,
    Evaluations,
    HeldOutWindows,
    KeepAdapter,
    LearningRate,
    LoraRank,
    MicroWindows,
    Patience,
    SaveMinutes,
    Shard,
    StreamWeight,
    Teacher,
    TeacherTopK,
    Tensorboard,
    TextWeight,
    Tokens,
    Train,
    WarmupSteps,
)
from .output import emit, error_console, quiet_libraries

if TYPE_CHECKING:
    from rich.table import Table

    from ..export.recovery import Recovery


@app.command(rich_help_panel="Compress")
def recover(
    narrow: Annotated[str, typer.Argument(help="What `dotresize compress` wrote.")],
    teacher: Teacher,
    output: Output,
    text: Text,
    tokens: Tokens = None,
    minutes: Minutes = None,
    window_tokens: WindowTokens = 512,
    train: Train = "all",
    lora_rank: LoraRank = None,
    keep_adapter: KeepAdapter = False,
    learning_rate: LearningRate = None,
    warmup_steps: WarmupSteps = None,
    beta2: Beta2 = 0.95,
    clip_norm: ClipNorm = 1.0,
    temperature: Temperature = 1.0,
    teacher_top_k: TeacherTopK = None,
    stream_weight: StreamWeight = 0.0,
    text_weight: TextWeight = 0.0,
    batch_windows: BatchWindows = 8,
    micro_windows: MicroWindows = 2,
    shard: Shard = False,
    activation_checkpointing: ActivationCheckpointing = False,
    held_out_windows: HeldOutWindows = 4,
    evaluations: Evaluations = 10,
    patience: Patience = 3,
    tensorboard: Tensorboard = None,
    save_minutes: SaveMinutes = 5.0,
    dtype: Dtype = "auto",
    device: Device = "auto",
    seed: Seed = 42,
    dry_run: DryRun = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Win back by distillation what narrowing lost. Experimental.

    The best state on held-out windows of each text is written, or the start if none was better. An
    interrupted run resumes when the same command is given again. Several GPUs: torchrun -m dotresize recover.
    """
    quiet_libraries()
    from ..recover.config import RecoverConfig
    from ..recover.pipeline import run
    from .progress import ProgressBar

    config = RecoverConfig(
        text=tuple(text),
        tokens=tokens,
        minutes=minutes,
        train=train,  # type: ignore[arg-type]  # RecoverConfig checks the choices
        lora_rank=lora_rank,
        keep_adapter=keep_adapter,
        learning_rate=learning_rate,
        warmup=warmup_steps,
        beta2=beta2,
        clip_norm=clip_norm,
        held_out_windows=held_out_windows,
        evaluations=evaluations,
        patience=patience,
        batch_windows=batch_windows,
        micro_windows=micro_windows,
        window_tokens=window_tokens,
        temperature=temperature,
        teacher_top_k=teacher_top_k,
        stream_weight=stream_weight,
        text_weight=text_weight,
        save_minutes=save_minutes,
        seed=seed,
        precision=canonical(dtype),  # type: ignore[arg-type]
        device=device,
        shard=shard,
        activation_checkpointing=activation_checkpointing,
    )
    with ProgressBar() as progress:
        done = run(
            narrow,
            teacher,
            output,
            config,
            progress=progress,
            say=lambda line: error_console().print(line, markup=False),
            dry_run=dry_run,
            force=force,
            tensorboard=tensorboard,
        )
    data: dict[str, Any] = {"output": str(output), "estimate": done.estimate.to_dict(), "recovery": None}
    if done.record is None or done.record.recovery is None:
        emit(data, as_json=as_json)
        return
    data["recovery"] = done.record.to_dict()["recovery"]
    emit(data, _table(done.record.recovery, output), as_json=as_json)


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
