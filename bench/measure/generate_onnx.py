"""Greedy decoding with ONNX Runtime GenAI, timed step by step."""

from time import perf_counter

import numpy as np
import onnxruntime_genai as genai
from numpy.typing import NDArray

from ..record.settings import BenchSettings
from .timed import Timed

__all__ = ["OnnxGenerator"]


class OnnxGenerator:
    """An ONNX Runtime GenAI directory in memory; it runs on the provider that it was exported for.

    Args:
        directory: with genai_config.json.
        settings: unused here; the directory decides precision and provider.
    """

    def __init__(self, directory: str, settings: BenchSettings) -> None:
        self._model = genai.Model(directory)
        self.weight_bytes: int | None = None  # the runtime does not say

    def generate(self, prompts: NDArray[np.int64], output_tokens: int) -> Timed:
        """Decode a fixed number of tokens for prompts ``(B, T)``; the end-of-text token does not stop it."""
        batch, input_tokens = prompts.shape
        length = input_tokens + output_tokens
        parameters = genai.GeneratorParams(self._model)
        parameters.set_search_options(max_length=length, min_length=length, batch_size=batch, do_sample=False)
        generator = genai.Generator(self._model, parameters)
        marks = []
        started = perf_counter()
        generator.append_tokens(prompts.astype(np.int32))
        for _ in range(output_tokens):
            generator.generate_next_token()
            marks.append(perf_counter() - started)  # the runtime returns when the token is on the host
        produced = len(generator.get_sequence(0)) - input_tokens
        if produced != output_tokens:
            raise RuntimeError(f"ONNX Runtime GenAI made {produced} of {output_tokens} tokens")
        return Timed(step_seconds=marks, kv_bytes_per_token=None)
