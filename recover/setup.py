"""Both models where they compute, and what is trained, before any text is read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..compress.run import choose_device
from ..compress.source import DenseModel
from ..errors import OptionError
from .config import RecoverConfig
from .teacher import check_same_vocabulary, projection
from .train import Distiller, training_arguments, uses_bfloat16
from .trainable import choose_trainable

__all__ = ["Setup", "prepare"]


@dataclass(kw_only=True)
class Setup:
    """Everything that training needs but text, checked and in memory."""

    config: RecoverConfig
    teacher: Any  # None once its tokens are kept on disk
    student: Any
    project: Tensor | None
    use_cache: bool  # of the student's config; the Trainer turns it off

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


def prepare(narrow: DenseModel, teacher: DenseModel, config: RecoverConfig) -> Setup:
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
    student = narrow.model.to(device, torch.float32)  # type: ignore[arg-type]
    return Setup(
        config=config,
        teacher=taught,
        student=choose_trainable(student, config),
        project=project,
        use_cache=bool(student.config.use_cache),
    )
