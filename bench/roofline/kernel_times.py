"""A model's matrices timed alone, by shape: the time that no engine with the same kernels can beat.

Every layer has weights of its own and the parts are run in turn, so that a part finds in the caches what
it would find in the whole model. Checkpoints are timed with torch's kernels (query, key and value as one
matrix, gate and up as another, as vLLM does); ONNX directories with ONNX Runtime's, on their own graph.
Quantised checkpoints are not timed: torch has not the engine's kernels.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import psutil

from ...serve.engine.model_facts import DTYPE_BYTES
from ..record.results import BenchModel, Part
from .timing import time_in_turn

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["time_kernels"]

MEMORY_FRACTION = 0.4  # of what is free: larger models are timed on their first layers and scaled


def time_kernels(
    model: BenchModel,
    batch_tokens: int,
    device: str,
    dtype: str,
    threads: int,
    *,
    head_rows: int | None = None,
) -> dict[Part, float]:
    """Seconds of all matrix products of one pass, by part; empty where they cannot be timed.

    Args:
        model: Its widths give the shapes; an ONNX directory is read again.
        batch_tokens: Rows of every product but the head's: batch x input tokens, or batch when decoding.
        device: "cpu" or "cuda"; an ONNX directory is timed on the CPU only.
        dtype: "float32", "bfloat16" or "float16".
        threads: CPU threads; set for the whole process.
        head_rows: Rows of the head's product; `batch_tokens` by default.
    """
    rows = batch_tokens if head_rows is None else head_rows
    if model.format == "onnx":
        if device != "cpu":
            return {}
        from .onnx_kernels import time_onnx_kernels

        return time_onnx_kernels(model, batch_tokens, threads, head_rows=rows)
    if dtype not in DTYPE_BYTES or not set(model.precision.split("+")) <= set(DTYPE_BYTES):
        return {}
    return _torch_seconds(model, batch_tokens, rows, device, dtype, threads)


def _torch_seconds(
    model: BenchModel, rows: int, head_rows: int, device: str, dtype: str, threads: int
) -> dict[Part, float]:
    import torch
    from torch.nn.functional import linear

    torch.set_num_threads(threads)
    generator = torch.Generator().manual_seed(0)

    def matrix(outputs: int, inputs: int) -> "Tensor":
        row: Tensor = torch.randn(inputs, generator=generator) * inputs**-0.5
        row = row.to(device, getattr(torch, dtype))
        return row.repeat(outputs, 1)  # copying one row is fast, and no value is zero or tiny

    layers = _layers_that_fit(model, device, DTYPE_BYTES[dtype])
    query, key_value = model.num_attention_heads * model.head_dim, model.num_key_value_heads * model.head_dim
    attention = [
        (matrix(query + 2 * key_value, model.hidden_size), matrix(model.hidden_size, query))
        for _ in range(layers)
    ]
    mlp = [
        (
            matrix(2 * model.intermediate_size, model.hidden_size),
            matrix(model.hidden_size, model.intermediate_size),
        )
        for _ in range(layers)
    ]
    head, last = matrix(model.vocab_size, model.hidden_size), matrix(head_rows, model.hidden_size)
    state = matrix(rows, model.hidden_size)
    works: dict[Part, list[Callable[[], object]]] = {
        "attention": [partial(_products, state, *pair) for pair in attention],
        "mlp": [partial(_products, state, *pair) for pair in mlp],
        "head": [partial(linear, last, head)],
    }
    with torch.inference_mode():
        if device == "cuda":
            works = {part: [_captured(pieces)] for part, pieces in works.items()}
        seconds = time_in_turn(works, device)
    scale = model.num_hidden_layers / layers
    return {part: value * (1.0 if part == "head" else scale) for part, value in seconds.items()}


def _products(state: "Tensor", first: "Tensor", second: "Tensor") -> "Tensor":
    """Both products of one layer: (rows, hidden) -> (rows, inner) -> (rows, hidden)."""
    from torch.nn.functional import linear

    inner = linear(state, first)  # (rows, query + 2 kv) or (rows, 2 mlp)
    return linear(inner[:, : second.shape[1]], second)


def _captured(pieces: Sequence[Callable[[], object]]) -> Callable[[], object]:
    """The same kernels as one CUDA graph, as engines launch them: Python's launch time is not theirs."""
    import torch

    def work() -> None:
        for piece in pieces:
            piece()

    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):  # libraries allocate their workspaces before the capture
            work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


def _layers_that_fit(model: BenchModel, device: str, item_bytes: int) -> int:
    import torch

    free_bytes = torch.cuda.mem_get_info()[0] if device == "cuda" else psutil.virtual_memory().available
    heads = 2 * (model.num_attention_heads + model.num_key_value_heads) * model.head_dim
    layer_bytes = (heads + 3 * model.intermediate_size) * model.hidden_size * item_bytes
    return max(1, min(model.num_hidden_layers, int(MEMORY_FRACTION * free_bytes) // layer_bytes))
