"""`dotresize recover`: a narrowed checkpoint learns from its original."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import app
from .output import emit, error_console, quiet_libraries

if TYPE_CHECKING:
    from rich.table import Table

    from ..export.recovery import Recovery

_LENGTH, _WHAT, _LOSS, _RUN = "Texts and length", "What is trained", "Loss", "Run"


@app.command(rich_help_panel="Compress")
def recover(
    narrow: Annotated[str, typer.Argument(help="What `dotresize compress` wrote.")],
    teacher: Annotated[
        str, typer.Option(help="The original: directory, hub id, .gguf file, or demo:smollm2-135m.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Directory to write; must not exist.")],
    text: Annotated[
        list[str],
        typer.Option(
            help="Text to train on: self (the teacher writes it), builtin, FILE, hf:NAME, or TEXT=0.3 with a "
            "share; repeatable.",
            rich_help_panel=_LENGTH,
        ),
    ],
    tokens: Annotated[int | None, typer.Option(help="Tokens to train on.", rich_help_panel=_LENGTH)] = None,
    minutes: Annotated[
        float | None, typer.Option(help="About how long to train.", rich_help_panel=_LENGTH)
    ] = None,
    window_tokens: Annotated[int, typer.Option(help="Tokens per window.", rich_help_panel=_LENGTH)] = 512,
    train: Annotated[
        str, typer.Option(help="all, lora, layers, norms, readers or writers.", rich_help_panel=_WHAT)
    ] = "all",
    lora_rank: Annotated[
        int | None, typer.Option(help="Rank of the adapter; default 32.", rich_help_panel=_WHAT)
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option(help="Highest rate; default by --train.", rich_help_panel=_WHAT),
    ] = None,
    warmup: Annotated[
        int | None,
        typer.Option(help="Steps in which the rate rises; default by length.", rich_help_panel=_WHAT),
    ] = None,
    beta2: Annotated[
        float, typer.Option(help="How slowly Adam forgets the size of gradients.", rich_help_panel=_WHAT)
    ] = 0.95,
    clip_norm: Annotated[
        float, typer.Option(help="Longest gradient; longer ones are scaled down.", rich_help_panel=_WHAT)
    ] = 1.0,
    temperature: Annotated[float, typer.Option(help="Of both distributions.", rich_help_panel=_LOSS)] = 1.0,
    teacher_top_k: Annotated[
        int | None,
        typer.Option(help="Keep only the teacher's likeliest tokens, on disk.", rich_help_panel=_LOSS),
    ] = None,
    stream_weight: Annotated[
        float, typer.Option(help="Weight of the residual stream's error.", rich_help_panel=_LOSS)
    ] = 0.0,
    text_weight: Annotated[
        float, typer.Option(help="Weight of the text's own next tokens.", rich_help_panel=_LOSS)
    ] = 0.0,
    batch_windows: Annotated[int, typer.Option(help="Windows per step.", rich_help_panel=_RUN)] = 8,
    micro_windows: Annotated[
        int, typer.Option(help="Windows that a process holds at once.", rich_help_panel=_RUN)
    ] = 2,
    activation_checkpointing: Annotated[
        bool, typer.Option("--activation-checkpointing", help="Less memory, more time.", rich_help_panel=_RUN)
    ] = False,
    held_out_windows: Annotated[
        int, typer.Option(help="Of each text, to choose the best state.", rich_help_panel=_RUN)
    ] = 4,
    evaluations: Annotated[int, typer.Option(help="How often these are scored.", rich_help_panel=_RUN)] = 10,
    patience: Annotated[
        int, typer.Option(help="Evaluations without a better state that end it.", rich_help_panel=_RUN)
    ] = 3,
    save_minutes: Annotated[
        float, typer.Option(help="An interrupt loses at most this much.", rich_help_panel=_RUN)
    ] = 5.0,
    precision: Annotated[str, typer.Option(help="auto, float32 or bfloat16.", rich_help_panel=_RUN)] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.", rich_help_panel=_RUN)] = "auto",
    seed: Annotated[int, typer.Option(help="Order of the windows.", rich_help_panel=_RUN)] = 42,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say how long and how much memory, then stop.", rich_help_panel=_RUN),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace OUTPUT.", rich_help_panel=_RUN)] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="End stdout with one JSON object.", rich_help_panel=_RUN)
    ] = False,
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
        learning_rate=learning_rate,
        warmup=warmup,
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
        precision=precision,  # type: ignore[arg-type]
        device=device,
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
        )
    data: dict[str, Any] = {"output": str(output), "estimate": vars(done.estimate), "recovery": None}
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
