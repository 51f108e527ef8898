"""Both models where they compute, and what is trained, before any text is read."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor

from ...compress.record.report import Source
from ...compress.run import choose_device
from ...compress.streams.memory import map_large_blocks
from ...compress.weights.source import DenseModel
from ...errors import OptionError
from ..ask.batches import WindowSet
from ..ask.config import RecoverConfig
from ..losses.heads import finishing
from ..models.shards import meet, shard_teacher
from ..models.teacher import Kept, check_same_vocabulary, projection
from ..models.trainable import choose_trainable
from .on_policy import on_policy_distiller
from .train import Distiller, teacher_dtype, training_arguments

__all__ = ["Setup", "prepare"]


@dataclass(kw_only=True)
class Setup:
    """Everything that training needs but text, checked and in memory."""

    config: RecoverConfig
    teacher: Any  # None once its tokens are kept on disk
    student: Any
    start: Source  # of the student
    base: str  # how the start is found again
    project: Tensor | None
    fresh: Callable[[], Any]  # reads the start again: where nothing improved, or weights are in shards
    resident_bytes: int  # of the process with both models in it
    tokenizer: Any  # of both
    stock_config: Any  # the student's; trainers change it
    stock_generation: Any  # likewise

    def trainer(self, work: Path, windows: Tensor, *, steps: int, kept: Kept | None) -> Any:
        """What trains over so many steps: a `Distiller`, or TRL's trainer with the same calls."""
        if not self.config.on_policy:
            return self.distiller(work, steps=steps, kept=kept, train_dataset=WindowSet(windows))
        return on_policy_distiller(
            self.config,
            work / "trainer",
            steps=steps,
            student=self.student,
            teacher=self.teacher,
            tokenizer=self.tokenizer,
            windows=windows,
        )

    def distiller(self, work: Path, *, steps: int, **rest: Any) -> Distiller:
        """The loop over so many steps, keeping its states below `work`."""
        return Distiller(
            config=self.config,
            teacher=self.teacher,
            project=self.project,
            model=self.student,
            args=training_arguments(self.config, work / "trainer", steps=steps),
            **rest,
        )


def prepare(
    narrow: DenseModel,
    teacher: DenseModel,
    config: RecoverConfig,
    *,
    fresh: Callable[[], Any],
) -> Setup:
    """Put both models where they compute and fix what is trained.

    Args:
        narrow: the start.
        teacher: the original.
        config: what to do.
        fresh: reads the start's model again.

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
    if device.type == "cpu":
        map_large_blocks()
    project = projection(teacher.model, narrow.model) if config.stream_weight else None
    taught = teacher.model.to(teacher_dtype(config)).eval().requires_grad_(False)  # type: ignore[arg-type]
    student = narrow.model.to(torch.float32)  # type: ignore[arg-type]
    if config.shard:
        shard_teacher(taught, meet(config))
    else:
        taught.to(device)
        student.to(device)
    stock = deepcopy((student.config, student.generation_config))
    if not config.on_policy:
        finishing(student)
    return Setup(
        config=config,
        teacher=taught,
        student=choose_trainable(student, config),
        start=narrow.source,
        base=narrow.source.name,
        fresh=fresh,
        project=project,
        resident_bytes=psutil.Process().memory_info().rss,
        tokenizer=narrow.tokenizer,
        stock_config=stock[0],
        stock_generation=stock[1],
    )
