"""Training on what the student itself writes: TRL's trainer, with starts of our windows as prompts.

The student goes on from each prompt, and is pulled to the teacher's distribution at every token that it
wrote (Agarwal et al., arXiv:2306.13649). Generation and loss are TRL's; what is scored, kept, saved and
resumed is as in every other recovery. Experimental.
"""

from copy import deepcopy
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from time import perf_counter
from typing import Any
from warnings import catch_warnings

import torch
from torch import Tensor

from ...errors import OptionError
from ..ask.config import DIVERGENCES, RecoverConfig
from ..losses.heads import finishing_for_now
from .held_out import HeldOut
from .train import autocast_for, training_settings, uses_bfloat16
from .trainer import RecoveryTrainer

__all__ = ["check_trl", "generation_seconds", "on_policy_distiller"]

_PROMPT_SHARE = 0.25  # of a window; the rest is written by the student


def check_trl() -> None:
    """Refuse a recovery on the student's own text where TRL is missing.

    Raises:
        OptionError: it is.
    """
    if find_spec("trl") is None:
        raise OptionError(
            "--on-policy needs the package trl, which is not installed: pip install 'dotresize[recover]'."
        )


def _prompt_tokens(config: RecoverConfig) -> int:
    return max(1, int(_PROMPT_SHARE * config.window_tokens))


@torch.no_grad()
def generation_seconds(config: RecoverConfig, student: Any, windows: Tensor) -> float:
    """Seconds in which the student goes on from windows (w, t) to their length, all at once."""
    started = perf_counter()
    with autocast_for(config, student.device):
        prompts = windows[:, : _prompt_tokens(config)].to(student.device)
        new_tokens = config.window_tokens - _prompt_tokens(config)
        student.generate(
            prompts,
            attention_mask=torch.ones_like(prompts),
            do_sample=True,
            min_new_tokens=new_tokens,
            max_new_tokens=new_tokens,
            use_cache=True,
        )
    return perf_counter() - started


def on_policy_distiller(
    config: RecoverConfig,
    work: Path,
    *,
    steps: int,
    student: Any,
    teacher: Any,
    tokenizer: Any,
    windows: Tensor,
) -> Any:
    """TRL's trainer with the calls that `recover.run` makes of `train.Distiller`.

    Args:
        config: of the recovery.
        work: where checkpoints go.
        steps: optimiser steps.
        student: to train, a plain model or one of PEFT.
        teacher: on the same device.
        tokenizer: of both; a copy of it is used.
        windows: (w, t) int64, whose starts are the prompts.

    Raises:
        OptionError: TRL is missing, or a batch does not divide over the processes.
    """
    check_trl()
    with catch_warnings(action="ignore"):  # of the vLLM versions that it knows; it is not asked to use one
        trl, datasets = import_module("trl"), import_module("datasets")
        trl.DistillationTrainer  # noqa: B018  # imported when it is first asked for
    tokenizer = deepcopy(tokenizer)
    tokenizer.padding_side = tokenizer.truncation_side = "left"
    prompts = tokenizer.batch_decode(windows[:, : _prompt_tokens(config)])
    arguments = trl.DistillationConfig(
        **training_settings(config, work, steps=steps),
        bf16=uses_bfloat16(config),
        max_completion_length=config.window_tokens - _prompt_tokens(config),
        temperature=config.temperature,
        beta=DIVERGENCES[config.divergence or "reverse"],
    )
    return _trainer_class(trl)(
        recovery=config,
        model=student,
        teacher_model=teacher,
        args=arguments,
        train_dataset=datasets.Dataset.from_dict({"prompt": prompts}),
        processing_class=tokenizer,
    )


def _trainer_class(trl: Any) -> Any:
    class OnPolicyDistiller(RecoveryTrainer, trl.DistillationTrainer):  # type: ignore[misc]  # known at run time
        """Trains a student to give the teacher's distribution on what it writes itself."""

        def _send_telemetry(self) -> None:
            """TRL would tell its makers that it is used."""

        def compute_loss(self, *given: Any, **named: Any) -> Any:
            """TRL's loss; not finite is an error."""
            loss: Any = super().compute_loss(*given, **named)
            self.check_finite(loss)
            self.on_loss(float(loss.detach()) * self.args.gradient_accumulation_steps)
            return loss

        def score(self, held_out: HeldOut, model: Any) -> dict[str, float]:
            """Divergences on held-out windows, with products as fast as in training."""
            plain = self.accelerator.unwrap_model(model)
            with finishing_for_now(plain), autocast_for(self.recovery, self.args.device):
                return held_out.divergences(plain)

    return OnPolicyDistiller
