"""How a narrow model learns from its original."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from .run import Minutes
from .serving import Temperature
from .texts import WindowTokens

__all__ = ["Rank", "Teacher", "Tensorboard", "TrainingOptions"]

_WHAT, _LOSS, _RUN = "What is trained", "Loss", "Run"

Teacher = Annotated[
    str, typer.Option(help="The original: directory, hub id, .gguf file, or demo:smollm2-135m.")
]
Tokens = Annotated[int | None, typer.Option(help="Tokens to train on.", rich_help_panel="Text")]
Train = Annotated[
    str, typer.Option(help="all, lora, layers, norms, readers or writers.", rich_help_panel=_WHAT)
]
Rank = Annotated[int, typer.Option(help="Of what is added to each matrix.", rich_help_panel=_WHAT)]
LoraRank = Annotated[int | None, typer.Option(help="Rank of the adapter; default 32.", rich_help_panel=_WHAT)]
KeepAdapter = Annotated[
    bool,
    typer.Option("--keep-adapter", help="Also write the adapter for PEFT and vLLM.", rich_help_panel=_WHAT),
]
LearningRate = Annotated[
    float | None, typer.Option(help="Highest rate; default by --train.", rich_help_panel=_WHAT)
]
WarmupSteps = Annotated[
    int | None,
    typer.Option(help="Steps in which the rate rises; default by length.", rich_help_panel=_WHAT),
]
Beta2 = Annotated[
    float, typer.Option(help="How slowly Adam forgets the size of gradients.", rich_help_panel=_WHAT)
]
ClipNorm = Annotated[
    float, typer.Option(help="Longest gradient; longer ones are scaled down.", rich_help_panel=_WHAT)
]
TeacherTopK = Annotated[
    int | None,
    typer.Option(help="Keep only the teacher's likeliest tokens, on disk.", rich_help_panel=_LOSS),
]
StreamWeight = Annotated[
    float, typer.Option(help="Weight of the residual stream's error.", rich_help_panel=_LOSS)
]
TextWeight = Annotated[
    float, typer.Option(help="Weight of the text's own next tokens.", rich_help_panel=_LOSS)
]
OnPolicy = Annotated[
    bool,
    typer.Option(
        "--on-policy",
        help="Learn on what the model itself writes after the first quarter of each window, with TRL. Slow.",
        rich_help_panel=_LOSS,
    ),
]
Divergence = Annotated[
    str | None,
    typer.Option(
        help="With --on-policy: forward, jensen-shannon or reverse (default).", rich_help_panel=_LOSS
    ),
]
BatchWindows = Annotated[int, typer.Option(help="Windows per step.", rich_help_panel=_RUN)]
MicroWindows = Annotated[
    int, typer.Option(help="Windows that a process holds at once.", rich_help_panel=_RUN)
]
Shard = Annotated[
    bool, typer.Option("--shard", help="Divide the weights over torchrun's processes.", rich_help_panel=_RUN)
]
Tensorboard = Annotated[
    Path | None, typer.Option(help="Directory for TensorBoard's events.", rich_help_panel=_RUN)
]
ActivationCheckpointing = Annotated[
    bool, typer.Option("--activation-checkpointing", help="Less memory, more time.", rich_help_panel=_RUN)
]
HeldOutWindows = Annotated[
    int, typer.Option(help="Of each text, to choose the best state.", rich_help_panel=_RUN)
]
Evaluations = Annotated[int, typer.Option(help="How often these are scored.", rich_help_panel=_RUN)]
Patience = Annotated[
    int, typer.Option(help="Evaluations without a better state that end it.", rich_help_panel=_RUN)
]
SaveMinutes = Annotated[
    float, typer.Option(help="An interrupt loses at most this much.", rich_help_panel=_RUN)
]


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """Of `recover`: a field for each of `RecoverConfig` that is no text and no machine."""

    tokens: Tokens = None
    minutes: Minutes = None
    window_tokens: WindowTokens = 512
    train: Train = "all"
    lora_rank: LoraRank = None
    keep_adapter: KeepAdapter = False
    learning_rate: LearningRate = None
    warmup_steps: WarmupSteps = None
    beta2: Beta2 = 0.95
    clip_norm: ClipNorm = 1.0
    temperature: Temperature = 1.0
    teacher_top_k: TeacherTopK = None
    stream_weight: StreamWeight = 0.0
    text_weight: TextWeight = 0.0
    on_policy: OnPolicy = False
    divergence: Divergence = None
    batch_windows: BatchWindows = 8
    micro_windows: MicroWindows = 2
    shard: Shard = False
    activation_checkpointing: ActivationCheckpointing = False
    held_out_windows: HeldOutWindows = 4
    evaluations: Evaluations = 10
    patience: Patience = 3
    save_minutes: SaveMinutes = 5.0
