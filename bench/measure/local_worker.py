"""Measures one model at one load in a process of its own.

    python -m dotresize.bench.measure.local_worker REQUEST REPLY

REQUEST and REPLY are JSON files (`LocalRequest`, `LocalAnswer`). The process loads the model, warms up,
repeats and ends, so that no model inherits the memory, the threads or the caches of the one before it.
"""

from dataclasses import dataclass, field
from statistics import fmean
from time import perf_counter
from typing import Protocol

import numpy as np
import psutil
from numpy.typing import NDArray

from ..process.child_call import answer
from ..record.settings import BenchSettings
from .timed import Timed
from .token_ids import random_prompts

__all__ = ["LocalAnswer", "LocalRequest"]


@dataclass(frozen=True, kw_only=True)
class LocalRequest:
    """What to measure."""

    directory: str
    vocab_size: int
    scenario: str  # "latency", "throughput" or "memory"
    load: int  # sequences in a batch, or requests in all
    settings: BenchSettings


@dataclass(kw_only=True)
class LocalAnswer:
    """What was measured."""

    samples: dict[str, list[float]] = field(default_factory=dict)
    weight_bytes_loaded: int | None = None
    kv_bytes_per_token: float | None = None
    base_bytes: int | None = None  # resident, before the model is loaded


class Generator(Protocol):
    """A loaded model."""

    weight_bytes: int | None

    def __init__(self, directory: str, settings: BenchSettings) -> None: ...

    def generate(self, prompts: NDArray[np.int64], output_tokens: int) -> Timed:
        """Decode a fixed number of tokens for prompts ``(B, T)``."""
        ...


def work(request: LocalRequest) -> LocalAnswer:
    """Load, warm up, measure."""
    settings = request.settings
    open_model = _onnx if settings.engine == "onnx" else _transformers
    generator_class = open_model()
    base_bytes = psutil.Process().memory_info().rss
    model = generator_class(request.directory, settings)
    reply = LocalAnswer(base_bytes=base_bytes, weight_bytes_loaded=model.weight_bytes)
    if reply.weight_bytes_loaded is None:
        reply.weight_bytes_loaded = psutil.Process().memory_info().rss - base_bytes
    batch = min(request.load, max(settings.batch_sizes)) if request.scenario == "throughput" else request.load
    ids = random_prompts(
        request.load, settings.input_tokens, vocab_size=request.vocab_size, seed=settings.seed
    )
    once = request.scenario == "memory"
    for _ in range(0 if once else settings.warmup):
        model.generate(ids[:batch], settings.output_tokens)
    if request.scenario == "throughput":
        started = perf_counter()
        for first in range(0, request.load, batch):
            model.generate(ids[first : first + batch], settings.output_tokens)
        rate = request.load / (perf_counter() - started)
        reply.samples = {
            "output_tokens_per_second": [rate * settings.output_tokens],
            "requests_per_second": [rate],
        }
        return reply
    timed = [model.generate(ids, settings.output_tokens) for _ in range(1 if once else settings.repeats)]
    known = [run.kv_bytes_per_token for run in timed if run.kv_bytes_per_token is not None]
    reply.kv_bytes_per_token = fmean(known) if known else None
    if not once:
        reply.samples = {
            "ttft_seconds": [run.ttft_seconds for run in timed],
            "tpot_seconds": [run.tpot_seconds for run in timed],
            "e2e_seconds": [run.e2e_seconds for run in timed],
        }
    return reply


def _onnx() -> "type[Generator]":
    from .generate_onnx import OnnxGenerator

    return OnnxGenerator


def _transformers() -> "type[Generator]":
    from .generate_transformers import TransformersGenerator

    return TransformersGenerator


if __name__ == "__main__":
    answer(LocalRequest, work)
