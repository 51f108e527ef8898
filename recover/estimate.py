"""What a recovery will take, from a few measured steps whose updates are thrown away."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import psutil
import torch

from ..compress.progress import Silent
from .batches import WindowSet, stand_ins
from .held_out import HeldOut
from .setup import Setup
from .teacher import likeliest

__all__ = ["Estimate", "estimate"]

_MEASURED_STEPS = 2


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a recovery will take."""

    steps: int
    tokens: int
    step_seconds: float
    seconds: float
    peak_memory_bytes: int


def estimate(setup: Setup, *, texts: int) -> Estimate:
    """Forward and backward passes over random tokens; nothing is updated.

    With `--minutes`, the steps are those that fit beside the evaluations.

    Args:
        setup: of `prepare`.
        texts: how many there are, each with windows held out.
    """
    config = setup.config
    step_seconds, evaluation = _measured(setup)
    evaluation *= texts * config.held_out_windows * (config.evaluations + 1)
    tokens_per_step = config.batch_windows * config.window_tokens
    if config.minutes is not None:
        steps = max(1, int((config.minutes * 60 - evaluation) / step_seconds))
    else:
        steps = max(1, round((config.tokens or 1) / tokens_per_step))
    trained = sum(each.numel() for each in setup.student.parameters() if each.requires_grad)
    return Estimate(
        steps=steps,
        tokens=steps * tokens_per_step,
        step_seconds=step_seconds,
        seconds=steps * step_seconds + evaluation,
        peak_memory_bytes=_memory_bytes(setup)
        + 2 * 4 * trained,  # Adam's two moments come with the first step
    )


def _measured(setup: Setup) -> tuple[float, float]:
    """Seconds of a step of all windows, and of the evaluation of one window."""
    config = setup.config
    windows = stand_ins(config, int(setup.student.config.vocab_size))
    kept = None
    if config.teacher_top_k is not None:
        kept = likeliest(setup.teacher, windows, config.teacher_top_k, Silent())
    with tempfile.TemporaryDirectory() as nowhere:
        distiller = setup.distiller(Path(nowhere), steps=1, kept=kept, train_dataset=WindowSet(windows))
    batch = {"token_ids": windows.to(setup.student.device), "place": torch.arange(len(windows))}
    setup.student.train()
    seconds = []
    for _ in range(_MEASURED_STEPS):
        started = perf_counter()
        distiller.compute_loss(setup.student, batch).backward()
        seconds.append(perf_counter() - started)
    setup.student.zero_grad(set_to_none=True)
    processes = distiller.accelerator.num_processes
    held_out = HeldOut(setup.teacher, {"": windows[:1]})
    started = perf_counter()
    distiller.score(held_out, setup.student)
    evaluation = perf_counter() - started
    return min(seconds) * max(1, config.batch_windows // (config.micro_windows * processes)), evaluation


def _memory_bytes(setup: Setup) -> int:
    if setup.student.device.type == "cuda":
        return int(torch.cuda.max_memory_allocated())
    return int(psutil.Process().memory_info().rss)
