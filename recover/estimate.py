"""What a recovery will take, from a few measured steps whose updates are thrown away."""

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from ..compress.record.progress import Silent
from ..compress.streams.launcher import launched_processes
from .ask.batches import WindowSet, stand_ins
from .ask.memory_errors import naming_the_setting
from .forecast.memory import Memory, memory_of, saved_bytes
from .forecast.shapes import memory_from_configs
from .losses.heads import finishing_for_now
from .models.teacher import likeliest
from .training.held_out import HeldOut
from .training.on_policy import generation_seconds
from .training.setup import Setup
from .training.train import uses_bfloat16

__all__ = ["Estimate", "estimate"]

_MEASURED_STEPS = 2


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a recovery will take."""

    steps: int
    tokens: int
    step_seconds: float | None  # None where weights are in shards: nothing is measured then
    seconds: float | None
    memory: Memory  # of one process

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return asdict(self) | {"peak_memory_bytes": self.memory.total}


def estimate(setup: Setup, *, texts: int) -> Estimate:
    """Forward and backward passes over random tokens; nothing is updated.

    With `--minutes`, the steps are those that fit beside the evaluations.

    Args:
        setup: of `prepare`.
        texts: how many there are, each with windows held out.
    """
    config = setup.config
    if config.shard:
        return _counted(setup)
    with naming_the_setting(config):
        step_seconds, evaluation, saved = _measured(setup)
    evaluation *= texts * config.held_out_windows * (config.evaluations + 1)
    tokens_per_step = config.batch_windows * config.window_tokens
    if config.minutes is not None:
        steps = max(1, int((config.minutes * 60 - evaluation) / step_seconds))
    else:
        steps = max(1, round((config.tokens or 1) / tokens_per_step))
    return Estimate(
        steps=steps,
        tokens=steps * tokens_per_step,
        step_seconds=step_seconds,
        seconds=steps * step_seconds + evaluation,
        memory=memory_of(
            setup.student,
            setup.teacher if config.teacher_top_k is None else None,
            saved=saved,
            product_bytes=2 if uses_bfloat16(config) else 4,
            accumulates=config.batch_windows > config.micro_windows * launched_processes(),
            process=_process_bytes(setup),
        ),
    )


def _counted(setup: Setup) -> Estimate:
    """Of weights in shards, which are whole in no process that could measure: no times."""
    config = setup.config
    tokens_per_step = config.batch_windows * config.window_tokens
    steps = max(1, round((config.tokens or 1) / tokens_per_step))
    return Estimate(
        steps=steps,
        tokens=steps * tokens_per_step,
        step_seconds=None,
        seconds=None,
        memory=memory_from_configs(
            setup.student.config,
            setup.teacher.config,
            config,
            bfloat16=uses_bfloat16(config),
            processes=launched_processes(),
        ),
    )


def _measured(setup: Setup) -> tuple[float, float, int]:
    """Seconds of a whole step, and of the evaluation of one window; bytes saved for a backward pass."""
    config = setup.config
    windows = stand_ins(config, int(setup.student.config.vocab_size))
    kept = None
    if config.teacher_top_k is not None:
        kept = likeliest(setup.teacher, windows, config.teacher_top_k, Silent())
    with tempfile.TemporaryDirectory() as nowhere:
        distiller = setup.distiller(Path(nowhere), steps=1, kept=kept, train_dataset=WindowSet(windows))
    batch = {"token_ids": windows.to(setup.student.device), "place": torch.arange(len(windows))}
    setup.student.train()
    besides = [*setup.student.parameters(), *setup.student.buffers(), *setup.teacher.parameters()]
    seconds = []
    with finishing_for_now(setup.student):
        saved = saved_bytes(lambda: distiller.compute_loss(setup.student, batch), besides)
        for _ in range(_MEASURED_STEPS):
            started = perf_counter()
            distiller.compute_loss(setup.student, batch).backward()
            seconds.append(perf_counter() - started)
        setup.student.zero_grad(set_to_none=True)
        held_out = HeldOut(setup.teacher, {"": windows[:1]})
        started = perf_counter()
        distiller.score(held_out, setup.student)
        evaluation = perf_counter() - started
    rounds = max(1, config.batch_windows // (config.micro_windows * distiller.accelerator.num_processes))
    step = min(seconds)
    if config.on_policy:
        step += generation_seconds(config, setup.student, batch["token_ids"])
    return step * rounds, evaluation, saved


def _process_bytes(setup: Setup) -> int:
    """What the process takes besides the models: on a CPU, where all share one memory."""
    if setup.student.device.type == "cuda":
        return 0
    models = [*setup.student.parameters(), *setup.teacher.parameters()]
    known = {id(each): each.numel() * each.element_size() for each in models}
    return max(0, setup.resident_bytes - int(sum(known.values())))
