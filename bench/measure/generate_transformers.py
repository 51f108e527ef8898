"""Greedy decoding with stock transformers, timed step by step: the reference engine."""

from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import DynamicCache

from ...compress.weights.strict_load import load_strictly
from ..record.settings import BenchSettings
from .timed import Timed

__all__ = ["TransformersGenerator"]


class TransformersGenerator:
    """A checkpoint in memory.

    Args:
        directory: a Hugging Face checkpoint.
        settings: dtype and device, settled.
    """

    def __init__(self, directory: str, settings: BenchSettings) -> None:
        self._device = torch.device(settings.device)
        model = load_strictly(Path(directory), dtype=getattr(torch, settings.dtype), local_files_only=True)
        self._model = model.to(self._device)  # type: ignore[arg-type]
        self.weight_bytes: int | None = sum(
            {tensor.data_ptr(): tensor.nbytes for tensor in self._model.parameters()}.values()
        )

    @torch.inference_mode()
    def generate(self, prompts: NDArray[np.int64], output_tokens: int) -> Timed:
        """Decode a fixed number of tokens for prompts ``(B, T)``; the end-of-text token does not stop it."""
        ids = torch.from_numpy(prompts).to(self._device)
        cache = DynamicCache(config=self._model.config)
        clock = _Clock(self._device)
        for _ in range(output_tokens):
            logits = self._model(ids, past_key_values=cache, use_cache=True, logits_to_keep=1).logits
            ids = logits[:, -1:].argmax(-1)  # (B, 1)
            clock.mark()
        return Timed(step_seconds=clock.seconds(), kv_bytes_per_token=_cache_bytes_per_token(cache))


class _Clock:
    """Seconds from its making to every mark: CUDA events on a GPU, the processor's clock elsewhere."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._events: list[torch.cuda.Event] = []
        if self._cuda:
            torch.cuda.synchronize(device)
            self._events.append(self._event())
        self._started = perf_counter()
        self._marks: list[float] = []

    def mark(self) -> None:
        """A step's work has been issued (CUDA) or is done (CPU)."""
        if self._cuda:
            self._events.append(self._event())
        else:
            self._marks.append(perf_counter() - self._started)

    def seconds(self) -> list[float]:
        """All marks; waits for the device."""
        if not self._cuda:
            return self._marks
        torch.cuda.synchronize()
        start = self._events[0]
        return [start.elapsed_time(event) / 1000 for event in self._events[1:]]

    def _event(self) -> "torch.cuda.Event":
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event


def _cache_bytes_per_token(cache: DynamicCache) -> float | None:
    """Bytes of keys and values per token and sequence, as allocated."""
    keys = [getattr(layer, "keys", None) for layer in cache.layers]
    values = [getattr(layer, "values", None) for layer in cache.layers]
    tensors = [tensor for tensor in (*keys, *values) if tensor is not None]
    if not tensors:
        return None
    batch, _, tokens, _ = tensors[0].shape  # (B, kv_heads, T, head_dim)
    return float(sum(tensor.nbytes for tensor in tensors) / (batch * tokens))
