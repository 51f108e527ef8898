"""Perplexity with its standard error, and how far other models are from the first one.

Shapes: w windows of t tokens, v vocabulary. Every model sees the same windows; the first token of a
window is context only, so a window has t - 1 predictions.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ...compress.record.progress import Progress, Silent
from ...compress.text.calibration import Windows
from ...errors import InputError, ModelError
from ..record.results import Estimate

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = [
    "Estimate",
    "ModelPerplexity",
    "Scorer",
    "check_same_tokenizer",
    "estimate_quality",
    "log_probabilities_of",
    "mean_kl",
    "mean_loss",
    "measure_perplexity",
]

Scorer = Callable[[Tensor], Tensor]  # window (t,) int64 -> log-probabilities (t - 1, v) float32
_MOST_NATS = 700.0  # per token; the exponential of more is no float


@dataclass(frozen=True, kw_only=True)
class ModelPerplexity:
    """One model on the evaluation windows; the last two compare it to the first model."""

    name: str
    tokens: int  # predictions that were scored
    perplexity: Estimate
    perplexity_ratio: Estimate | None
    kl_nats_per_token: Estimate | None  # KL(first || this)


@torch.no_grad()
def measure_perplexity(
    models: "Mapping[str, PreTrainedModel | Scorer]",
    windows: Windows,
    *,
    device: torch.device | None = None,
    progress: Progress | None = None,
) -> list[ModelPerplexity]:
    """Score models side by side on the same windows. All of them are held in memory at once.

    The perplexity is exp of the mean negative log-likelihood over all tokens. Windows are the
    sampling unit of the standard errors, because tokens within one are not independent; that of a
    perplexity and of a ratio follows from the delta method. The ratio is paired window by window.

    Args:
        models: name -> causal language model, or what scores windows in its place; the first is what the
            others are compared to.
        windows: from `calibration.leading_windows`.
        device: where to run; each model's own device by default.
        progress: told about every window.

    Raises:
        ModelError: a model predicts so badly that there is no perplexity.
    """
    progress = progress or Silent()
    names = list(models)
    losses: dict[str, list[float]] = {name: [] for name in names}
    divergences: dict[str, list[float]] = {name: [] for name in names[1:]}
    if device is not None:
        for model in models.values():
            if isinstance(model, nn.Module):
                model.to(device)
    scorers = {name: _scorer(model) for name, model in models.items()}
    progress.begin("perplexity", len(names) * len(windows.token_ids))
    for window in windows.token_ids:
        first: Tensor | None = None
        for name in names:
            log_probabilities = scorers[name](window)  # (t - 1, v)
            losses[name].append(mean_loss(log_probabilities, window))
            if first is None:
                first = log_probabilities
            else:
                divergences[name].append(mean_kl(first, log_probabilities))
            progress.advance()
    reference = losses[names[0]]
    tokens = windows.token_ids.numel() - len(windows.token_ids)
    return [estimate_quality(name, tokens, losses[name], reference, divergences.get(name)) for name in names]


def _scorer(model: "PreTrainedModel | Scorer") -> Scorer:
    if isinstance(model, nn.Module):
        return partial(log_probabilities_of, model)  # type: ignore[arg-type]  # a stock model
    return model


def log_probabilities_of(model: "PreTrainedModel", window: Tensor) -> Tensor:
    """One model on one window (t,): log-probabilities (t - 1, v) float32, on the model's device."""
    logits = model(window[None].to(model.device), use_cache=False).logits[0, :-1]
    return torch.log_softmax(logits.float(), dim=-1)


def mean_loss(log_probabilities: Tensor, window: Tensor) -> float:
    """Mean negative log-likelihood of a window (t,) under log-probabilities (t - 1, v), in nats."""
    targets = window[1:, None].to(log_probabilities.device)
    return -float(log_probabilities.gather(1, targets).double().mean())


def mean_kl(first: Tensor, other: Tensor) -> float:
    """Mean over positions of KL(first || other), both log-probabilities (t, v), in nats."""
    return float((first.exp() * (first - other)).sum(-1, dtype=torch.float64).mean())


def estimate_quality(
    name: str, tokens: int, losses: list[float], reference: list[float], divergences: list[float] | None
) -> ModelPerplexity:
    """Estimates with windows as the sampling unit.

    Args:
        name: of the model.
        tokens: predictions that were scored.
        losses: per window.
        reference: the first model's losses, per window.
        divergences: from the first model, per window; None for that model itself.

    Raises:
        ModelError: The model predicts so badly that there is no perplexity.
    """
    for nats in (*losses, *(divergences or ())):
        if not abs(nats) <= _MOST_NATS:
            raise ModelError(
                f"{name} is off by {nats:g} nats per token, so there is no perplexity; its weights are "
                "broken, download or make the model again"
            )
    compared = divergences is not None
    differences = [loss - other for loss, other in zip(losses, reference, strict=True)]
    return ModelPerplexity(
        name=name,
        tokens=tokens,
        perplexity=_exponential(_mean(losses)),
        perplexity_ratio=_exponential(_mean(differences)) if compared else None,
        kl_nats_per_token=_mean(divergences) if divergences is not None else None,
    )


def _mean(values: list[float]) -> Estimate:
    count = len(values)
    mean = math.fsum(values) / count
    if count < 2:
        return Estimate(value=mean, standard_error=None)
    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    return Estimate(value=mean, standard_error=math.sqrt(variance / count))


def _exponential(estimate: Estimate) -> Estimate:
    value = math.exp(estimate.value)
    error = estimate.standard_error
    return Estimate(value=value, standard_error=None if error is None else value * error)


def check_same_tokenizer(tokenizers: "Mapping[str, PreTrainedTokenizerBase]") -> None:
    """Raise InputError unless all tokenizers have the same vocabulary: only then do tokens compare."""
    names = list(tokenizers)
    vocabulary = tokenizers[names[0]].get_vocab()
    for name in names[1:]:
        if tokenizers[name].get_vocab() != vocabulary:
            raise InputError(
                f"{name} has another vocabulary than {names[0]}, so their perplexities do not compare; "
                "measure them in separate runs."
            )
