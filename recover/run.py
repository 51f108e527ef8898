"""Train, keep the best state, and give it back as a plain model."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..compress.progress import Progress, Silent
from ..errors import OptionError
from .batches import Texts, WindowSet
from .held_out import HeldOut
from .schedule import default_warmup
from .setup import Setup
from .teacher import keep_top_k
from .trainable import default_learning_rate, merged
from .watch import Curve, Watch, best_state

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["Outcome", "recover"]


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


def recover(
    setup: Setup,
    texts: Texts,
    work: Path,
    steps: int,
    *,
    progress: Progress | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Train and return the best state; an interrupted run goes on from its last save.

    Args:
        setup: of `prepare`.
        texts: to train and to score on.
        work: an own directory for states, which a resumed run finds again.
        steps: optimiser steps in all.
        progress: told about every step.
        say: gets a line for each evaluation.

    Raises:
        ConvergenceError: the loss is not finite.
        OptionError: memory ran out; names the setting that helps.
    """
    config = setup.config
    progress = progress or Silent()
    held_out, kept = HeldOut(setup.teacher, texts.held_out), None
    if config.teacher_top_k is not None:
        file = work / "teacher.safetensors"
        kept = keep_top_k(setup.teacher, texts.train, config.teacher_top_k, file, progress)
        setup.teacher = None  # its memory is for the student now
    distiller = setup.distiller(work, steps=steps, kept=kept, train_dataset=WindowSet(texts.train))
    watch = Watch(
        work,
        measure=lambda model: distiller.score(held_out, model),
        trainable=lambda model: _trained(distiller.accelerator.unwrap_model(model)),
        tokens_per_step=config.batch_windows * config.window_tokens,
        every=max(1, steps // config.evaluations),
        patience=config.patience,
        save_seconds=config.save_minutes * 60,
        progress=progress,
        say=say,
    )
    distiller.add_callback(watch)
    distiller.on_loss = watch.add_loss
    start = {name: value.clone() for name, value in _trained(setup.student).items()}
    try:
        distiller.train(resume_from_checkpoint=_last_checkpoint(work))
    except torch.OutOfMemoryError as error:
        raise OptionError(
            f"memory ran out with --micro-windows {config.micro_windows}; halve it, or add "
            "--activation-checkpointing, or train less with --train lora or norms"
        ) from error
    distiller.accelerator.wait_for_everyone()  # the first process writes the states that all read
    state = best_state(work, watch.curve) if watch.curve.best_step else start
    setup.student.load_state_dict(state, strict=False)
    model = merged(setup.student, config)
    model.config.use_cache = setup.use_cache
    warmup = default_warmup(steps) if config.warmup is None else config.warmup
    effective = replace(config, learning_rate=default_learning_rate(config), warmup=warmup).to_dict()
    return Outcome(
        model=model.eval().requires_grad_(False),
        curve=watch.curve,
        stopped_by=watch.stopped_by,
        config=effective,
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
