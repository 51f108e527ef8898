"""The loop: transformers' Trainer on Accelerate with our loss, so that torchrun and accelerate launch it.

Shapes: w windows of t tokens.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import TrainingArguments

from ...compress.maths.precision import has_fast_bfloat16
from ...compress.streams.launcher import launched_processes
from ...errors import OptionError
from ..ask.config import RecoverConfig
from ..losses.chunks import Head, by_autograd, chunked_forward_kl, chunked_mean
from ..losses.heads import head_of, run_decoder
from ..losses.loss import next_token_loss, stream_error, top_k_forward_kl
from ..models.shards import products_in_bfloat16, sharding_arguments
from ..models.teacher import Kept
from ..models.trainable import default_learning_rate
from .held_out import HeldOut
from .trainer import RecoveryTrainer

__all__ = [
    "Distiller",
    "autocast_for",
    "teacher_dtype",
    "training_arguments",
    "training_settings",
    "uses_bfloat16",
]


class Distiller(RecoveryTrainer):
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
        super().__init__(recovery=config, **rest)
        self.teacher, self.kept, self.project = teacher, kept, project
        if self.is_fsdp_enabled and uses_bfloat16(config):
            products_in_bfloat16(self.accelerator.state.fsdp_plugin)
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
        with autocast_for(self.recovery, inputs["token_ids"].device):
            target, dense_stream = self._taught(inputs["token_ids"])

            def finish(hidden: Tensor, stream: tuple[Tensor, ...], head: Head) -> Tensor:
                loss = self._divergence(hidden.flatten(0, 1), head, target, inputs)
                if self.project is not None:
                    errors = self._stream_error(stream, dense_stream)
                    loss = loss + self.recovery.stream_weight * errors
                if self.recovery.text_weight:
                    loss = loss + self.recovery.text_weight * _of_text(hidden, head, inputs["token_ids"])
                return loss

            loss: Tensor = model(inputs["token_ids"], finish=finish, stream=self.project is not None)
        self.check_finite(loss)
        self.on_loss(float(loss.detach()))
        return loss

    @torch.no_grad()
    def _taught(self, token_ids: Tensor) -> tuple[Tensor | None, tuple[Tensor, ...]]:
        """What the teacher's head reads, (w, t, d), and its stream where that is compared."""
        if self.teacher is None or self.kept is not None:
            return None, ()
        return run_decoder(self.teacher, token_ids, stream=self.project is not None)

    def _divergence(
        self, rows: Tensor, head: Head, target: Tensor | None, inputs: dict[str, Tensor]
    ) -> Tensor:
        """Mean over all positions, whose hidden states are the rows."""
        if target is None:
            assert self.kept is not None
            places = inputs["place"].cpu()
            values, tokens = (part[places].to(rows.device).flatten(0, 1) for part in self.kept)
            measure = by_autograd(
                lambda start, stop, logits: top_k_forward_kl(
                    values[start:stop], tokens[start:stop].long(), logits
                )
            )
            return chunked_mean(rows, head, measure)
        assert self.teacher is not None
        return chunked_forward_kl(
            target.flatten(0, 1),
            head_of(self.teacher),
            rows,
            head,
            temperature=self.recovery.temperature,
        )

    def _stream_error(self, stream: tuple[Tensor, ...], dense_stream: tuple[Tensor, ...]) -> Tensor:
        assert self.project is not None
        project = self.project.to(stream[0].device)
        errors = [
            stream_error(dense.flatten(0, 1), narrow.flatten(0, 1), project)
            for dense, narrow in zip(dense_stream, stream, strict=True)
        ]
        return torch.stack(errors).mean()

    def score(self, held_out: HeldOut, model: Any) -> dict[str, float]:
        """Divergences on held-out windows, with products as fast as in training."""
        with autocast_for(self.recovery, self.args.device):
            return held_out.divergences(self.accelerator.unwrap_model(model))


def _of_text(hidden: Tensor, head: Head, token_ids: Tensor) -> Tensor:
    """Mean negative log-likelihood of the tokens themselves."""
    rows, following = hidden[:, :-1].flatten(0, 1), token_ids[:, 1:].flatten()
    measure = by_autograd(lambda start, stop, logits: next_token_loss(logits, following[start:stop]))
    return chunked_mean(rows, head, measure)


def training_arguments(
    config: RecoverConfig, work: Path, *, steps: int, processes: int | None = None
) -> TrainingArguments:
    """The Trainer's arguments; see `training_settings`."""
    settings = training_settings(config, work, steps=steps, processes=processes)
    return TrainingArguments(**sharding_arguments(config), **settings)


def training_settings(
    config: RecoverConfig, work: Path, *, steps: int, processes: int | None = None
) -> dict[str, Any]:
    """What every trainer is set to; checkpoints are asked for by a callback, not by a number of steps.

    Args:
        config: of the recovery.
        work: where checkpoints go.
        steps: optimiser steps.
        processes: over which a batch is divided; None for as many as the launcher started.

    Raises:
        OptionError: a batch does not divide evenly.
    """
    count = launched_processes() if processes is None else processes
    at_once = config.micro_windows * count
    if config.batch_windows % at_once:
        raise OptionError(
            f"--batch-windows {config.batch_windows} does not divide over {count} processes with "
            f"--micro-windows {config.micro_windows} each; take a multiple of {at_once}."
        )
    checkpointing = config.activation_checkpointing and not config.shard  # FSDP has its own
    return dict(
        output_dir=str(work),
        max_steps=steps,
        per_device_train_batch_size=config.micro_windows,
        gradient_accumulation_steps=config.batch_windows // at_once,
        learning_rate=default_learning_rate(config),
        adam_beta2=config.beta2,
        weight_decay=0.0,
        max_grad_norm=config.clip_norm,
        use_cpu=not _on_cuda(config),
        gradient_checkpointing=checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": False} if checkpointing else None,
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
    from ...compress.run import choose_device

    return choose_device(config.device).type == "cuda"


def autocast_for(config: RecoverConfig, device: torch.device) -> torch.autocast:
    """Inside, matrix products have bfloat16 inputs where `uses_bfloat16`; weights and sums stay float32.

    Ours rather than the Trainer's, which covers the model's call but not the head that the loss applies.
    """
    return torch.autocast(device.type, torch.bfloat16, enabled=uses_bfloat16(config))


def uses_bfloat16(config: RecoverConfig) -> bool:
    """Whether matrix products run in bfloat16: as asked, or where that is quicker."""
    if config.precision != "auto":
        return config.precision == "bfloat16"
    return has_fast_bfloat16(torch.device("cuda" if _on_cuda(config) else "cpu"))


def teacher_dtype(config: RecoverConfig) -> torch.dtype:
    """Of the teacher's weights, which are not trained."""
    return torch.bfloat16 if uses_bfloat16(config) else torch.float32
