"""What the user asks of a recovery: one frozen, validated record."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from ...errors import OptionError

__all__ = ["DIVERGENCES", "RecoverConfig", "Train"]

Train = Literal["all", "lora", "layers", "norms", "readers", "writers"]
Precision = Literal["auto", "float32", "bfloat16"]
Divergence = Literal["forward", "jensen-shannon", "reverse"]
DIVERGENCES = {"forward": 0.0, "jensen-shannon": 0.5, "reverse": 1.0}  # TRL's `beta`


@dataclass(frozen=True, kw_only=True)
class RecoverConfig:
    """Options of one recovery.

    Attributes:
        text: texts to train on, each `SPEC` or `SPEC=share`, as compress takes them.
        tokens: how many tokens to train on; excludes `minutes`.
        minutes: about how long to train; turned into a number of steps after a few measured ones.
        train: which parameters move: all, a low-rank adapter that is merged at the end, those of the layers
            (not embedding or head), norms and biases, what reads the residual stream, or what writes to it.
        lora_rank: rank of the adapter.
        keep_adapter: also write the adapter by itself.
        learning_rate: at its highest; None takes the default of `train`.
        warmup: steps in which the rate rises, None for `schedule.default_warmup`; it falls as a cosine
            afterwards.
        beta2: how slowly Adam forgets the size of past gradients; 0.95 remembers 20 steps.
        clip_norm: longest gradient; longer ones are scaled down to it.
        batch_windows: windows per step over all processes.
        micro_windows: windows that one process holds at once; the rest is accumulated.
        window_tokens: tokens per window.
        temperature: of both distributions.
        teacher_top_k: keep only the teacher's likeliest tokens, computed once and cached on disk.
        stream_weight: of the error of the residual stream, beside the divergence.
        text_weight: of the text's own next tokens, beside the divergence.
        on_policy: train on what the student writes after the first quarter of each window, with TRL.
        divergence: on its own text: forward, jensen-shannon or reverse Kullback-Leibler (reverse).
        held_out_windows: of each text, never trained on, to choose the best state.
        evaluations: how often these are scored, the start not counted.
        patience: evaluations without a better state after which training stops.
        save_minutes: an interrupt loses at most this much.
        seed: of the held-out draw, the order of the windows and the adapter's start.
        precision: of the matrix products: auto takes bfloat16 where the device has fast ones. Weights that
            are trained are float32 throughout.
        device: auto, cpu or cuda.
        shard: divide weights, gradients and Adam's moments over the processes that torchrun started (FSDP2).
        activation_checkpointing: compute activations again in the backward pass instead of keeping them.
    """

    text: tuple[str, ...]
    tokens: int | None = None
    minutes: float | None = None
    train: Train = "all"
    lora_rank: int | None = None
    keep_adapter: bool = False
    learning_rate: float | None = None
    warmup: int | None = None
    beta2: float = 0.95
    clip_norm: float = 1.0
    batch_windows: int = 8
    micro_windows: int = 2
    window_tokens: int = 512
    temperature: float = 1.0
    teacher_top_k: int | None = None
    stream_weight: float = 0.0
    text_weight: float = 0.0
    on_policy: bool = False
    divergence: Divergence | None = None
    held_out_windows: int = 4
    evaluations: int = 10
    patience: int = 3
    save_minutes: float = 5.0
    seed: int = 42
    precision: Precision = "auto"
    device: str = "auto"
    shard: bool = False
    activation_checkpointing: bool = False

    def __post_init__(self) -> None:
        """Raise OptionError for anything that cannot be meant."""
        if self.precision not in get_args(Precision):
            raise OptionError(
                f"--dtype is {self.precision!r}; choose one of {', '.join(get_args(Precision))}."
            )
        if not self.text:
            raise OptionError("no text was given; name at least one with --text (builtin, a file, hf:NAME).")
        if (self.tokens is None) == (self.minutes is None):
            raise OptionError("give either --tokens or --minutes: how long to train.")
        if self.train not in get_args(Train):
            raise OptionError(f"--train is {self.train!r}; choose one of {', '.join(get_args(Train))}.")
        if self.lora_rank is not None and self.train != "lora":
            raise OptionError(f"--lora-rank has no effect with --train {self.train}; leave it out.")
        if self.shard and self.tokens is None:
            raise OptionError(
                "--shard measures nothing before it trains, so --minutes cannot be turned into steps; give "
                "--tokens."
            )
        if self.keep_adapter and self.train != "lora":
            raise OptionError(f"--keep-adapter has no effect with --train {self.train}; leave it out.")
        if self.teacher_top_k is not None and self.temperature != 1.0:
            raise OptionError(
                "--teacher-top-k keeps probabilities at temperature 1; leave --temperature out."
            )
        if self.teacher_top_k is not None and self.stream_weight:
            raise OptionError("--stream-weight needs the teacher itself; leave --teacher-top-k out.")
        self._check_on_policy()
        if self.batch_windows % self.micro_windows:
            raise OptionError(
                f"--batch-windows {self.batch_windows} is not a multiple of "
                f"--micro-windows {self.micro_windows}."
            )
        self._check_numbers()

    def _check_on_policy(self) -> None:
        if self.divergence is not None and self.divergence not in DIVERGENCES:
            raise OptionError(f"--divergence is {self.divergence!r}; choose one of {', '.join(DIVERGENCES)}.")
        if not self.on_policy:
            if self.divergence is not None:
                raise OptionError(
                    f"--divergence {self.divergence} has no effect without --on-policy; leave it out."
                )
            return
        for name in ("teacher_top_k", "stream_weight", "text_weight", "shard"):
            if getattr(self, name):
                raise OptionError(
                    f"--{name.replace('_', '-')} has no effect with --on-policy, whose loss is TRL's; leave "
                    "one of them out."
                )

    def _check_numbers(self) -> None:
        for name, value, least in (
            ("tokens", self.tokens, 1),
            ("minutes", self.minutes, 0.01),
            ("lora_rank", self.lora_rank, 1),
            ("learning_rate", self.learning_rate, 1e-12),
            ("warmup_steps", self.warmup, 0),
            ("beta2", self.beta2, 0.0),
            ("clip_norm", self.clip_norm, 1e-6),
            ("batch_windows", self.batch_windows, 1),
            ("micro_windows", self.micro_windows, 1),
            ("window_tokens", self.window_tokens, 2),
            ("temperature", self.temperature, 0.01),
            ("teacher_top_k", self.teacher_top_k, 1),
            ("stream_weight", self.stream_weight, 0.0),
            ("text_weight", self.text_weight, 0.0),
            ("held_out_windows", self.held_out_windows, 1),
            ("evaluations", self.evaluations, 1),
            ("patience", self.patience, 1),
            ("save_minutes", self.save_minutes, 0.0),
            ("seed", self.seed, 0),
        ):
            if value is not None and not (value >= least and math.isfinite(value)):
                raise OptionError(f"--{name.replace('_', '-')} is {value}; it must be at least {least}.")
        if not self.beta2 < 1.0:
            raise OptionError(f"--beta2 is {self.beta2}; it must be below 1.")

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready dictionary."""
        return asdict(self)
