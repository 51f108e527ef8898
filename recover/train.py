"""The loop: transformers' Trainer on Accelerate with our loss, so that torchrun and accelerate launch it.

Shapes: w windows of t tokens.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import PrinterCallback, Trainer, TrainingArguments

from ..errors import ConvergenceError, OptionError
from .chunks import by_autograd, chunked_forward_kl, chunked_mean
from .config import RecoverConfig
from .heads import head_of, run_decoder, run_to_head
from .held_out import HeldOut
from .loss import next_token_loss, stream_error, top_k_forward_kl
from .schedule import default_warmup, rate_factor
from .teacher import Kept
from .trainable import default_learning_rate, gain_rate

__all__ = ["Distiller", "fast_products", "training_arguments"]


class Distiller(Trainer):
    """Trains a student to give the teacher's next-token distribution."""

    def __init__(
        self,
        *,
        config: RecoverConfig,
        teacher: Any | None,
        project: Tensor | None,
        kept: Kept | None = None,
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
        with fast_products(self.recovery, token_ids.device):
            hidden, stream = run_decoder(model, token_ids)
            loss = self._divergence(plain, hidden, stream, inputs)
            if self.recovery.text_weight:
                loss = loss + self.recovery.text_weight * _of_text(plain, hidden, token_ids)
        if not bool(torch.isfinite(loss)):
            raise ConvergenceError(
                f"the loss is {float(loss)} at step {self.state.global_step}; the last good state was kept. "
                "Try a lower --learning-rate, or --dtype float32"
            )
        self.on_loss(float(loss.detach()))
        return loss

    def _divergence(
        self, plain: Any, hidden: Tensor, stream: tuple[Tensor, ...], inputs: dict[str, Tensor]
    ) -> Tensor:
        rows, head = hidden.flatten(0, 1), head_of(plain)
        if self.kept is not None:
            places = inputs["place"].cpu()
            values, tokens = (part[places].to(rows.device).flatten(0, 1) for part in self.kept)
            measure = by_autograd(
                lambda start, stop, logits: top_k_forward_kl(
                    values[start:stop], tokens[start:stop].long(), logits
                )
            )
            return chunked_mean(rows, head, measure)
        assert self.teacher is not None
        compared = self.project is not None and self.recovery.stream_weight
        with torch.no_grad():
            if compared:
                target, dense_stream = run_decoder(self.teacher, inputs["token_ids"])
            else:
                target, dense_stream = run_to_head(self.teacher, inputs["token_ids"]), ()
        loss = chunked_forward_kl(
            target.flatten(0, 1),
            head_of(self.teacher),
            rows,
            head,
            temperature=self.recovery.temperature,
        )
        if compared:
            assert self.project is not None
            project = self.project.to(hidden.device)
            errors = [
                stream_error(dense.flatten(0, 1), narrow.flatten(0, 1), project)
                for dense, narrow in zip(dense_stream, stream, strict=True)
            ]
            loss = loss + self.recovery.stream_weight * torch.stack(errors).mean()
        return loss

    def score(self, held_out: HeldOut, model: Any) -> dict[str, float]:
        """Divergences on held-out windows, with products as fast as in training."""
        plain = self.accelerator.unwrap_model(model)
        with fast_products(self.recovery, plain.device):
            return held_out.divergences(plain)

    def create_optimizer(self, *given: Any) -> torch.optim.Optimizer:
        """The Trainer's, with gains and biases at the rate that suits them (`gain_rate`)."""
        if self.optimizer is not None:
            return self.optimizer
        optimizer = super().create_optimizer(*given)
        for group in optimizer.param_groups:
            if all(parameter.ndim <= 1 for parameter in group["params"]):
                group["lr"] = gain_rate(self.recovery.train, group["lr"])
        return optimizer

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> torch.optim.lr_scheduler.LRScheduler:
        """The rate of `schedule.rate_factor`."""
        if self.lr_scheduler is None:
            warmup = self.recovery.warmup
            warmup = default_warmup(num_training_steps) if warmup is None else warmup
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(
                self.optimizer if optimizer is None else optimizer,  # type: ignore[arg-type]
                lambda step: rate_factor(step, num_training_steps, warmup),
            )
            self._created_lr_scheduler = True
        return self.lr_scheduler


def _of_text(plain: Any, hidden: Tensor, token_ids: Tensor) -> Tensor:
    """Mean negative log-likelihood of the tokens themselves."""
    rows, following = hidden[:, :-1].flatten(0, 1), token_ids[:, 1:].flatten()
    measure = by_autograd(lambda start, stop, logits: next_token_loss(logits, following[start:stop]))
    return chunked_mean(rows, head_of(plain), measure)


def training_arguments(
    config: RecoverConfig, work: Path, *, steps: int, processes: int | None = None
) -> TrainingArguments:
    """The Trainer's settings; checkpoints are asked for by a callback, not by a number of steps.

    Args:
        config: of the recovery.
        work: where checkpoints go.
        steps: optimiser steps.
        processes: over which a batch is divided; None for as many as the launcher started.

    Raises:
        OptionError: a batch does not divide evenly.
    """
    processes = int(os.environ.get("WORLD_SIZE", "1")) if processes is None else processes
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
        adam_beta2=config.beta2,
        weight_decay=0.0,
        max_grad_norm=config.clip_norm,
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


def fast_products(config: RecoverConfig, device: torch.device) -> torch.autocast:
    """Inside, matrix products have bfloat16 inputs where `uses_bfloat16`; weights and sums stay float32.

    Ours rather than the Trainer's, which covers the model's call but not the head that the loss applies.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=uses_bfloat16(config))


def uses_bfloat16(config: RecoverConfig) -> bool:
    """Whether matrix products run in bfloat16: as asked, or where the device has instructions for it."""
    if config.precision != "auto":
        return config.precision == "bfloat16"
    if _on_cuda(config):
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported())
