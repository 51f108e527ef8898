"""The recipe of a recovery: check, read texts, measure a few steps, train, keep the best state."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import psutil
import torch
from torch import Tensor

from ..compress.progress import Progress, Silent
from ..compress.run import choose_device
from ..compress.source import DenseModel
from ..errors import OptionError
from .batches import Texts, WindowSet
from .config import RecoverConfig
from .held_out import divergences
from .teacher import Kept, check_same_vocabulary, keep_top_k, projection
from .train import Distiller, training_arguments, uses_bfloat16
from .trainable import choose_trainable, default_learning_rate, merged
from .watch import Curve, Watch, best_state

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["Estimate", "Outcome", "estimate", "recover"]

_MEASURED_STEPS = 2


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a recovery will take, from a few measured steps whose updates were thrown away."""

    steps: int
    tokens: int
    step_seconds: float
    seconds: float
    peak_memory_bytes: int


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The student in its best state, and how it got there."""

    model: "PreTrainedModel"
    curve: Curve
    stopped_by: str | None
    config: dict[str, Any]  # effective values

    @property
    def improved(self) -> bool:
        """Whether the written state is not the start's."""
        return self.curve.best_step > 0


@dataclass(kw_only=True)
class _Setup:
    """Everything that training needs, checked and in memory."""

    config: RecoverConfig
    teacher: Any
    student: Any
    texts: Texts
    kept: Kept | None
    project: Tensor | None
    work: Path
    use_cache: bool  # of the config; the Trainer turns it off


def prepare(
    narrow: DenseModel,
    teacher: DenseModel,
    texts: Texts,
    config: RecoverConfig,
    work: Path,
    progress: Progress,
) -> _Setup:
    """Put both models where they compute and fix what is trained.

    Raises:
        InputError: teacher and student do not belong together.
        OptionError: an option cannot take effect with these models.
    """
    check_same_vocabulary(teacher.tokenizer, narrow.tokenizer, (teacher.source.name, narrow.source.name))
    device = choose_device(config.device)
    same_depth = teacher.model.config.num_hidden_layers == narrow.model.config.num_hidden_layers
    if config.stream_weight and not same_depth:
        raise OptionError(
            "--stream-weight compares layer by layer; these models differ in depth, leave it out."
        )
    project = projection(teacher.model, narrow.model) if config.stream_weight else None
    dtype = torch.bfloat16 if uses_bfloat16(config) else torch.float32
    taught = teacher.model.to(device, dtype).eval().requires_grad_(False)  # type: ignore[arg-type]
    kept = None
    if config.teacher_top_k is not None:
        kept = keep_top_k(taught, texts.train, config.teacher_top_k, work / "teacher.safetensors", progress)
    student = narrow.model.to(device, torch.float32)  # type: ignore[arg-type]
    return _Setup(
        config=config,
        teacher=taught,
        student=choose_trainable(student, config),
        texts=texts,
        kept=kept,
        project=project,
        work=work,
        use_cache=bool(student.config.use_cache),
    )


def estimate(setup: _Setup) -> Estimate:
    """Forward and backward passes over a few batches; nothing is updated.

    With `--minutes`, the steps are those that fit beside the evaluations.
    """
    config = setup.config
    distiller = _distiller(setup, steps=1)
    windows = setup.texts.train[: config.micro_windows]
    batch = {"token_ids": windows.to(setup.student.device), "place": torch.arange(len(windows))}
    setup.student.train()
    seconds = []
    for _ in range(_MEASURED_STEPS):
        started = perf_counter()
        distiller.compute_loss(setup.student, batch).backward()
        seconds.append(perf_counter() - started)
    setup.student.zero_grad(set_to_none=True)
    processes = distiller.accelerator.num_processes
    step_seconds = min(seconds) * max(1, config.batch_windows // (config.micro_windows * processes))
    started = perf_counter()
    divergences(setup.teacher, setup.student, {name: part[:1] for name, part in setup.texts.held_out.items()})
    evaluation = (perf_counter() - started) * config.held_out_windows * (config.evaluations + 1)
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


def _memory_bytes(setup: _Setup) -> int:
    if setup.student.device.type == "cuda":
        return int(torch.cuda.max_memory_allocated())
    return int(psutil.Process().memory_info().rss)


def recover(
    setup: _Setup,
    steps: int,
    *,
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Train and return the best state; an interrupted run goes on from its last save.

    Args:
        setup: of `prepare`.
        steps: optimiser steps in all.
        progress: told about every step.
        say: gets a line for each evaluation.

    Raises:
        ConvergenceError: the loss is not finite.
        OptionError: memory ran out; names the setting that helps.
    """
    config = setup.config
    distiller = _distiller(setup, steps=steps)
    watch = Watch(
        setup.work,
        measure=lambda model: divergences(
            setup.teacher, distiller.accelerator.unwrap_model(model), setup.texts.held_out
        ),
        trainable=lambda model: _trained(distiller.accelerator.unwrap_model(model)),
        tokens_per_step=config.batch_windows * config.window_tokens,
        every=max(1, steps // config.evaluations),
        patience=config.patience,
        save_seconds=config.save_minutes * 60,
        progress=progress or Silent(),
        say=say,
    )
    distiller.add_callback(watch)
    distiller.on_loss = watch.add_loss
    start = {name: value.clone() for name, value in _trained(setup.student).items()}
    try:
        distiller.train(resume_from_checkpoint=_last_checkpoint(setup.work))
    except torch.OutOfMemoryError as error:
        raise OptionError(
            f"memory ran out with --micro-windows {config.micro_windows}; halve it, or add "
            "--activation-checkpointing, or train less with --train lora or norms"
        ) from error
    distiller.accelerator.wait_for_everyone()  # the first process writes the states that all read
    state = best_state(setup.work, watch.curve) if watch.curve.best_step else start
    setup.student.load_state_dict(state, strict=False)
    model = merged(setup.student, config)
    model.config.use_cache = setup.use_cache
    effective = replace(config, learning_rate=default_learning_rate(config)).to_dict()
    return Outcome(
        model=model.eval().requires_grad_(False),
        curve=watch.curve,
        stopped_by=watch.stopped_by,
        config=effective,
    )


def _distiller(setup: _Setup, *, steps: int) -> Distiller:
    import os

    processes = int(os.environ.get("WORLD_SIZE", "1"))
    return Distiller(
        config=setup.config,
        teacher=setup.teacher,
        kept=setup.kept,
        project=setup.project,
        model=setup.student,
        args=training_arguments(setup.config, setup.work / "trainer", steps=steps, processes=processes),
        train_dataset=WindowSet(setup.texts.train),
    )


def _trained(model: Any) -> dict[str, Tensor]:
    """The tensors that training moves, by name, on the CPU."""
    return {
        name: value.detach().cpu().contiguous()
        for name, value in model.named_parameters()
        if value.requires_grad
    }


def _last_checkpoint(work: Path) -> str | None:
    from transformers.trainer_utils import get_last_checkpoint

    folder = work / "trainer"
    return get_last_checkpoint(str(folder)) if folder.is_dir() else None
