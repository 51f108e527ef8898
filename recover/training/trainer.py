"""What the trainers of a recovery have in common: their rates, and that a loss is finite."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import PrinterCallback, Trainer

from ...errors import ConvergenceError
from ..ask.config import RecoverConfig
from ..ask.schedule import default_warmup, rate_factor
from ..models.trainable import gain_rate

__all__ = ["RecoveryTrainer"]


class RecoveryTrainer(Trainer):
    """transformers' Trainer, or the one that stands behind it among a subclass's bases, at our rates."""

    def __init__(self, *, recovery: RecoverConfig, **rest: Any) -> None:
        """Take the config of the recovery, and what the Trainer takes."""
        super().__init__(**rest)
        self.remove_callback(PrinterCallback)  # the command line shows progress itself
        self.recovery = recovery
        self.on_loss: Callable[[float], None] = lambda _: None
        self.optimizer: torch.optim.Optimizer | None = self.optimizer

    def check_finite(self, loss: Tensor) -> None:
        """Refuse to go on after a loss, (), that no step can be made from.

        Raises:
            ConvergenceError: it is not finite.
        """
        if not bool(torch.isfinite(loss)):
            raise ConvergenceError(
                f"the loss is {float(loss.detach())} at step {self.state.global_step}; try a lower "
                "--learning-rate or --dtype float32"
            )

    def create_optimizer(self, *given: Any) -> torch.optim.Optimizer:
        """The Trainer's, with gains and biases at the rate that suits them (`gain_rate`)."""
        if self.optimizer is None:
            self.optimizer = optimizer = super().create_optimizer(*given)
            for group in optimizer.param_groups:
                if all(parameter.ndim <= 1 for parameter in group["params"]):
                    group["lr"] = gain_rate(self.recovery.train, group["lr"])
        return self.optimizer

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> torch.optim.lr_scheduler.LRScheduler:
        """The rate of `schedule.rate_factor`."""
        if self.lr_scheduler is None:
            given, steps = self.recovery.warmup, num_training_steps
            warmup = default_warmup(steps) if given is None else given
            chosen: Any = self.optimizer if optimizer is None else optimizer
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
                chosen, lambda step: rate_factor(step, steps, warmup)
            )
            self._created_lr_scheduler = True
        return self.lr_scheduler
