"""Train, keep the best state, and give it back as a plain model."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ..compress.record.progress import Progress, Silent
from ..compress.streams.launcher import runs_first
from ..errors import ConvergenceError
from .ask.batches import Texts
from .ask.config import RecoverConfig
from .ask.memory_errors import naming_the_setting
from .ask.schedule import default_warmup
from .losses.heads import plain_again
from .models.shards import whole
from .models.teacher import Kept, keep_top_k
from .models.trainable import ADAPTER, choose_trainable, default_learning_rate, keep_adapter, merged
from .training.board import Board
from .training.held_out import HeldOut
from .training.setup import Setup
from .training.watch import Curve, Watch, best_state

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["Outcome", "recover"]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The student in its best state, and how it got there."""

    model: "PreTrainedModel"  # its weights still in shards in all processes but the first
    curve: Curve
    stopped_by: str | None
    config: dict[str, Any]  # effective values
    adapter: Path | None = None  # a folder that holds it, where it is kept

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
    board: Board | None = None,
) -> Outcome:
    """Train and return the best state; an interrupted run goes on from its last save.

    Args:
        setup: of `prepare`.
        texts: to train and to score on.
        work: an own directory for states, which a resumed run finds again.
        steps: optimiser steps in all.
        progress: told about every step.
        say: gets a line for each evaluation.
        board: gets every step and evaluation.

    Raises:
        ConvergenceError: the loss is not finite, and no state was better than the start.
        OptionError: memory ran out; names the setting that helps.
    """
    config, progress = setup.config, progress or Silent()
    held_out = HeldOut(setup.teacher, texts.held_out)
    distiller = setup.trainer(work, texts.train, steps=steps, kept=_kept(setup, texts, work, progress))
    watch = _watched(distiller, held_out, config, work, steps, progress=progress, say=say, board=board)
    try:
        with naming_the_setting(config):
            distiller.train(resume_from_checkpoint=_last_checkpoint(work))
    except ConvergenceError as error:
        if not watch.curve.best_step:
            raise
        watch.stopped_by = "loss not finite"
        say(f"{error}; the best state so far, of step {watch.curve.best_step}, is written")
    distiller.accelerator.wait_for_everyone()  # the first process writes the states that all read
    warmup = default_warmup(steps) if config.warmup is None else config.warmup
    effective = replace(config, learning_rate=default_learning_rate(config), warmup=warmup).to_dict()
    if config.shard and not runs_first():
        return Outcome(model=setup.student, curve=watch.curve, stopped_by=watch.stopped_by, config=effective)
    return _outcome(setup, work, watch, effective)


def _kept(setup: Setup, texts: Texts, work: Path, progress: Progress) -> Kept | None:
    """The teacher's likeliest tokens, where only these are kept; the teacher then goes."""
    count = setup.config.teacher_top_k
    if count is None:
        return None
    kept = keep_top_k(setup.teacher, texts.train, count, work / "teacher.safetensors", progress)
    setup.teacher = None  # its memory is for the student now
    return kept


def _watched(
    distiller: Any, held_out: HeldOut, config: RecoverConfig, work: Path, steps: int, **told: Any
) -> Watch:
    """What keeps the best state and saves; told at every step of the distiller."""
    watch = Watch(
        work,
        measure=lambda model: distiller.score(held_out, model),
        trainable=lambda model: _trained(distiller.accelerator.unwrap_model(model)),
        tokens_per_step=config.batch_windows * config.window_tokens,
        every=max(1, steps // config.evaluations),
        patience=config.patience,
        save_seconds=config.save_minutes * 60,
        **told,
    )
    distiller.add_callback(watch)
    distiller.on_loss = watch.add_loss
    return watch


def _outcome(setup: Setup, work: Path, watch: Watch, effective: dict[str, Any]) -> Outcome:
    """The student in its best state, as a plain model; the start is read again rather than kept."""
    config, student = setup.config, setup.student
    if config.shard or not watch.curve.best_step:
        student = choose_trainable(setup.fresh().float(), config)
    if watch.curve.best_step:
        student.load_state_dict(best_state(work, watch.curve), strict=False)
    adapter = None
    if config.keep_adapter:
        adapter = work / ADAPTER
        keep_adapter(student, adapter, base=setup.base, base_sha256=setup.start.sha256)
    model = merged(student, config)
    plain_again(model)
    model.config, model.generation_config = setup.stock_config, setup.stock_generation
    return Outcome(
        model=model.eval().requires_grad_(False),
        curve=watch.curve,
        stopped_by=watch.stopped_by,
        config=effective,
        adapter=adapter,
    )


def _trained(model: Any) -> dict[str, Tensor]:
    """The tensors that training moves, by name, whole, on the CPU; all processes have to ask."""
    return {
        name: whole(value.detach()).cpu().contiguous()
        for name, value in model.named_parameters()
        if value.requires_grad
    }


def _last_checkpoint(work: Path) -> str | None:
    """The newest that was written to its end: the Trainer's state comes last, and a kill may come before."""
    from transformers.trainer import TRAINER_STATE_NAME

    complete = [
        folder
        for folder in (work / "trainer").glob("checkpoint-*")
        if (folder / TRAINER_STATE_NAME).is_file()
    ]
    newest = max(complete, key=lambda folder: int(folder.name.rpartition("-")[2]), default=None)
    return None if newest is None else str(newest)
