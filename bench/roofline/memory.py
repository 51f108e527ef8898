"""PURE: predicted memory beside measured, and how many more tokens of cache fit once the weights are small.

predicted peak = engine before it loads + weights in the run's dtype + cache of the largest batch + logits

The first term is measured (`Loaded.base_bytes`), because interpreters and libraries have no formula. The
logits are the largest activation: float32, one row per position that the head computes. Weights that are
packed twice, allocator slack and other activations are not in it, so measured may be above predicted.
vLLM takes the cache memory that it is told to take, whatever is needed: its peak is not predicted (None).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..record.results import BenchModel, Measurement, MemoryRecord
from ..record.settings import BenchSettings
from .model_work import head_rows

__all__ = ["Loaded", "memory_records", "tokens_that_fit"]

LOGIT_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """What an engine says or holds after loading one model. None: it does not say."""

    weight_bytes: int | None = None
    kv_bytes_per_token: float | None = None
    base_bytes: int | None = None  # of the engine's process tree right before it loads


def memory_records(
    models: Sequence[BenchModel],
    settings: BenchSettings,
    measurements: Sequence[Measurement],
    loaded: Mapping[str, Loaded],
) -> list[MemoryRecord]:
    """One record per model; `models[0]` is the original.

    The measured peak is the largest of a model's measurements that went well: GPU memory where any was
    measured, else resident memory of the process tree. `reference_tokens` is the cache that takes as much
    memory as the original's weights: a split that needs no machine and no load to be named. In that
    memory (twice the original's weights), `tokens_that_fit` tokens of the narrow model's cache fit.

    Args:
        models: All models of the run.
        settings: Lengths and the largest batch.
        measurements: Of all models; others than "ok" are left out.
        loaded: Model name -> what its engine reported; missing names are unknown.
    """
    reference = models[0]
    reference_tokens = _weights(reference) // reference.kv_bytes_per_token
    records = []
    for model in models:
        own = loaded.get(model.name, Loaded())
        gpu, resident = _peak(model, measurements, gpu=True), _peak(model, measurements, gpu=False)
        records.append(
            MemoryRecord(
                model=model.name,
                weight_bytes_on_disk=model.weight_bytes,
                weight_bytes_predicted=_weights(model),
                weight_bytes_loaded=own.weight_bytes,
                kv_bytes_per_token_predicted=model.kv_bytes_per_token,
                kv_bytes_per_token_measured=own.kv_bytes_per_token,
                peak_bytes_predicted=_predicted_peak(model, settings, measurements, own.base_bytes),
                peak_bytes_measured=resident if gpu is None else gpu,
                on_gpu=gpu is not None,
                reference_tokens=reference_tokens,
                tokens_that_fit=tokens_that_fit(reference, model, reference_tokens),
            )
        )
    return records


def tokens_that_fit(original: BenchModel, narrow: BenchModel, reference_tokens: int) -> int:
    """Tokens of the narrow model's cache in the memory of the original's weights and `reference_tokens`.

    0 where not even the weights of the narrow model fit.
    """
    memory_bytes = _weights(original) + reference_tokens * original.kv_bytes_per_token
    return max(0, memory_bytes - _weights(narrow)) // narrow.kv_bytes_per_token


def _weights(model: BenchModel) -> int:
    return sum(cost.loaded_bytes for cost in model.parts.values())


def _peak(model: BenchModel, measurements: Sequence[Measurement], *, gpu: bool) -> int | None:
    peaks = [
        entry.peak_gpu_memory_bytes if gpu else entry.peak_memory_bytes
        for entry in measurements
        if entry.model == model.name and entry.status == "ok"
    ]
    return max((peak for peak in peaks if peak is not None), default=None)


def _predicted_peak(
    model: BenchModel, settings: BenchSettings, measurements: Sequence[Measurement], base_bytes: int | None
) -> int | None:
    """For the largest load that this model was measured at; None where a term is unknown."""
    loads = [entry.load for entry in measurements if entry.model == model.name and entry.status == "ok"]
    if settings.engine == "vllm" or base_bytes is None or not loads:
        return None
    batch_size = max(loads)
    tokens = batch_size * (settings.input_tokens + settings.output_tokens)
    positions = head_rows(model, "prefill", batch_size, settings.input_tokens)
    logits = positions * model.vocab_size * LOGIT_BYTES
    return base_bytes + _weights(model) + tokens * model.kv_bytes_per_token + logits
