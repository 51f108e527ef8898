"""The loop: transformers' Trainer on Accelerate with our loss, so that torchrun and accelerate launch it.

Shapes: w windows of t tokens.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PrinterCallback, Trainer, TrainingArguments

from ..errors import ConvergenceError, OptionError
from .config import RecoverConfig
from .heads import head_of, run_decoder
from .loss import chunked_forward_kl, next_token_loss, stream_error, top_k_forward_kl
from .teacher import Kept
from .trainable import default_learning_rate

__all__ = ["Distiller", "training_arguments"]


class Distiller(Trainer):
    """Trains a student to give the teacher's next-token distribution."""

    def __init__(
        self,
        *,
        config: RecoverConfig,
        teacher: Any | None,
        kept: Kept | None,
        project: Tensor | None,
        **rest: Any,
    ) -> None:
        """Take the teacher in memory or its kept tokens; `project` is needed for the stream's error."""
        super().__init__(**rest)
        self.remove_callback(PrinterCallback)  # the command line shows progress itself
        self.recovery, self.teacher, self.kept, self.project = config, teacher, kept, project
        self.on_loss: Callable[[float], None] = lambda _: None
        # the loss is a mean over equal windows: accumulated steps need no rescaling by tokens
        self.model_accepts_loss_kwargs = False

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Tensor | Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """The loss of a batch, ().

        Raises:
            ConvergenceError: it is not finite.
        """
        del return_outputs, num_items_in_batch  # evaluation is ours: see `held_out`
        token_ids = inputs["token_ids"]
        plain = self.accelerator.unwrap_model(model)
        hidden, stream = run_decoder(model, token_ids)
        loss = self._divergence(plain, hidden, stream, inputs)
        if self.recovery.text_weight:
            logits = head_of(plain)(hidden[:, :-1]).flatten(0, 1)
            loss = loss + self.recovery.text_weight * next_token_loss(logits, token_ids[:, 1:].flatten())
        if not bool(torch.isfinite(loss)):
            raise ConvergenceError(
                f"the loss is {float(loss)} at step {self.state.global_step}; the last good state was kept. "
                "Try a lower --learning-rate, or --precision float32"
            )
        self.on_loss(float(loss.detach()))
        return loss

    def _divergence(
        self, plain: Any, hidden: Tensor, stream: tuple[Tensor, ...], inputs: dict[str, Tensor]
    ) -> Tensor:
        head = head_of(plain)
        if self.kept is not None:
            places = inputs["place"].cpu()
            logits = head(hidden).flatten(0, 1)
            values, tokens = (part[places].to(logits.device).flatten(0, 1) for part in self.kept)
            return top_k_forward_kl(values, tokens.long(), logits).mean()
        assert self.teacher is not None
        with torch.no_grad():
            target, dense_stream = run_decoder(self.teacher, inputs["token_ids"])
        loss = chunked_forward_kl(
            target.flatten(0, 1),
            head_of(self.teacher),
            hidden.flatten(0, 1),
            head,
            temperature=self.recovery.temperature,
        )
        if self.project is not None and self.recovery.stream_weight:
            project = self.project.to(hidden.device)
            errors = [
                stream_error(dense.flatten(0, 1), narrow.flatten(0, 1), project)
                for dense, narrow in zip(dense_stream, stream, strict=True)
            ]
            loss = loss + self.recovery.stream_weight * torch.stack(errors).mean()
        return loss


def training_arguments(config: RecoverConfig, work: Path, *, steps: int, processes: int) -> TrainingArguments:
    """The Trainer's settings; checkpoints are asked for by a callback, not by a number of steps.

    Args:
        config: of the recovery.
        work: where checkpoints go.
        steps: optimiser steps.
        processes: over which a batch is divided.

    Raises:
        OptionError: a batch does not divide evenly.
    """
    at_once = config.micro_windows * processes
    if config.batch_windows % at_once:
        raise OptionError(
            f"--batch-windows {config.batch_windows} does not divide over {processes} processes with "
            f"--micro-windows {config.micro_windows} each; take a multiple of {at_once}."
        )
    return TrainingArguments(
        output_dir=str(work),
        max_steps=steps,
        per_device_train_batch_size=config.micro_windows,
        gradient_accumulation_steps=config.batch_windows // at_once,
        learning_rate=default_learning_rate(config),
        lr_scheduler_type="cosine",
        warmup_steps=round(config.warmup_fraction * steps),
        weight_decay=0.0,
        max_grad_norm=1.0,
        bf16=uses_bfloat16(config),
        use_cpu=not _on_cuda(config),
        gradient_checkpointing=config.activation_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False} if config.activation_checkpointing else None,
        save_strategy="no",
        save_total_limit=1,
        eval_strategy="no",
        logging_strategy="no",
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=_on_cuda(config),
        seed=config.seed,
        data_seed=config.seed,
    )


def _on_cuda(config: RecoverConfig) -> bool:
    from ..compress.run import choose_device

    return choose_device(config.device).type == "cuda"


def uses_bfloat16(config: RecoverConfig) -> bool:
    """Whether matrix products run in bfloat16: as asked, or where the device has instructions for it."""
    if config.precision != "auto":
        return config.precision == "bfloat16"
    if _on_cuda(config):
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported())
