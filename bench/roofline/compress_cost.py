"""What a compression costs: one dense forward pass as the unit of its time, and its predicted peak memory."""

from time import perf_counter
from typing import Protocol

import torch

from ...compress.layers.fisher import HEAD_ROWS, felt_by
from ...compress.layers.job import keeps_inner
from ...compress.record.config import STREAM_ITEM_BYTES
from ...compress.record.report import Counts, Report, Widths
from ...compress.streams.activations import BATCH_TOKENS, batches
from ...compress.weights.source import DenseModel

__all__ = ["Sizes", "forward_seconds", "peak_bytes", "predicted_peak_bytes", "streamed_peak_bytes"]

_DOUBLE, _SINGLE = 8, 4  # bytes


class Sizes(Protocol):
    """What a report and a forecast both know."""

    @property
    def dense(self) -> Widths:
        """Of the original."""

    @property
    def narrow(self) -> Widths:
        """Of the result."""

    @property
    def dense_counts(self) -> Counts:
        """Of the original."""

    @property
    def narrow_counts(self) -> Counts:
        """Of the result."""


@torch.no_grad()
def forward_seconds(dense: DenseModel, token_ids: torch.Tensor) -> float:
    """Seconds of one forward pass of the dense model over (w, t) tokens, logits included."""
    started = perf_counter()
    for batch in batches(*token_ids.shape):
        dense.model(token_ids[batch].to(dense.model.device), use_cache=False)
    return perf_counter() - started


def predicted_peak_bytes(report: Report, base_bytes: int, batch_tokens: int) -> int:
    """`peak_bytes` of a compression that has been done.

    Args:
        report: of the compression.
        base_bytes: resident before it, with the dense model loaded.
        batch_tokens: tokens that visit a layer at once.
    """
    calibration = report.calibration
    return peak_bytes(
        report,
        tokens=calibration.tokens,
        compensate=report.config["compensate"],
        felt=felt_by(report.config["mlp_method"], calibration.windows, calibration.window_tokens),
        base_bytes=base_bytes,
        batch_tokens=batch_tokens,
        stream_item_bytes=STREAM_ITEM_BYTES[report.config["stream_dtype"]],
    )


def peak_bytes(
    sizes: Sizes,
    *,
    tokens: int,
    compensate: str,
    felt: tuple[int, int] | None = None,
    base_bytes: int,
    batch_tokens: int = BATCH_TOKENS,
    stream_item_bytes: int = _SINGLE,
) -> int:
    """Resident memory at the worst moment of a compression on the processor.

    Beyond the base there are the two streams, the narrow tensors, and whichever is larger: a layer with its
    sums and what its writer reads, or the folding of an untied head in float64. At the end the assembled
    model holds the narrow tensors beside the ones that it was created with, without streams.

    Args:
        sizes: of both models.
        tokens: of the calibration.
        compensate: of the run, see `CompressConfig`.
        felt: windows and tokens of each from which `neuron_fisher` learns, None where it does not run.
        base_bytes: resident before it, with the dense model loaded.
        batch_tokens: tokens that visit a layer at once.
        stream_item_bytes: of a value of a residual stream.
    """
    dense, narrow, counts = sizes.dense, sizes.narrow, sizes.narrow_counts
    streams = sum(_stream_bytes(sizes, tokens, compensate, stream_item_bytes))
    fit = _fit_bytes(sizes, tokens, compensate, batch_tokens)
    head = 0
    if counts.head_parameters != sizes.dense_counts.head_parameters:
        head = _DOUBLE * dense.vocab_size * (2 * dense.hidden_size + narrow.hidden_size)
    fitting = streams + counts.weight_bytes + max(fit, head)
    fisher = _fisher_bytes(sizes, felt, stream_item_bytes) if felt else 0
    return base_bytes + max(int(fitting), 2 * counts.weight_bytes, fisher)


def streamed_peak_bytes(
    sizes: Sizes,
    *,
    tokens: int,
    compensate: str,
    felt: tuple[int, int] | None = None,
    base_bytes: int,
    stream_bytes: int,
    stream_item_bytes: int = _SINGLE,
) -> int:
    """The same of a model that stays in its files and is written part by part.

    There are those streams that stay in memory, and whichever is largest: a dense layer beside a narrow one
    with its sums; both models' largest table, the narrow one twice; or, for the reference, the narrow tables
    in float32 with a layer and those that stay.

    Args:
        sizes: of both models.
        tokens: of the calibration.
        compensate: of the run, see `CompressConfig`.
        felt: windows and tokens of each from which `neuron_fisher` learns, None where it does not run.
        base_bytes: resident before it.
        stream_bytes: what one stream, and the layers that stay for the reference, may take of memory.
        stream_item_bytes: of a value of a residual stream.
    """
    dense, narrow, counts = sizes.dense, sizes.narrow, sizes.narrow_counts
    each = _stream_bytes(sizes, tokens, compensate, stream_item_bytes)
    streams = sum(size for size in each if size <= stream_bytes)
    dense_layer = _SINGLE * sizes.dense_counts.layer_parameters // dense.num_hidden_layers
    fit = dense_layer + _fit_bytes(sizes, tokens, compensate, BATCH_TOKENS)
    item_bytes = counts.weight_bytes // counts.total_parameters
    tables = item_bytes * narrow.vocab_size * (dense.hidden_size + 2 * narrow.hidden_size)
    layers = _SINGLE * counts.layer_parameters
    outside = _SINGLE * (counts.total_parameters - counts.layer_parameters)
    reference = outside + min(layers, stream_bytes + layers // narrow.num_hidden_layers)
    fisher = dense_layer + _fisher_bytes(sizes, felt, stream_item_bytes, stream_bytes) if felt else 0
    return base_bytes + max(streams + fit, streams + tables, reference, fisher)


def _stream_bytes(sizes: Sizes, tokens: int, compensate: str, item_bytes: int) -> list[int]:
    """Of each residual stream."""
    narrow = [] if compensate == "none" else [sizes.narrow.hidden_size]
    return [tokens * width * item_bytes for width in (sizes.dense.hidden_size, *narrow)]


def _fisher_bytes(
    sizes: Sizes, felt: tuple[int, int], item_bytes: int, stream_bytes: int | None = None
) -> int:
    """What enters the layers, and either the head with logits of a few tokens, or a batch's graph."""
    dense = sizes.dense
    windows, tokens = felt
    stream = windows * tokens * dense.hidden_size * item_bytes
    streams = [stream, dense.num_hidden_layers * stream]
    kept = sum(size for size in streams if stream_bytes is None or size <= stream_bytes)
    head = _SINGLE * dense.vocab_size * (dense.hidden_size + 4 * HEAD_ROWS)
    heads = dense.head_dim * (2 * dense.num_attention_heads + 2 * dense.num_key_value_heads)
    row = 8 * dense.hidden_size + 5 * dense.intermediate_size + heads
    graph = _SINGLE * max(BATCH_TOKENS, tokens) * row
    return kept + max(head, graph)


def _fit_bytes(sizes: Sizes, tokens: int, compensate: str, batch_tokens: int) -> int:
    """A narrow layer with its sums and what its writer reads."""
    dense, narrow = sizes.dense, sizes.narrow
    inner_widths = (narrow.intermediate_size, narrow.num_attention_heads * narrow.head_dim)
    kept = max((width for width in inner_widths if keeps_inner(dense, tokens, inner_width=width)), default=0)
    kept_bytes = tokens * kept * _SINGLE if compensate == "full" else 0
    layer = _SINGLE * sizes.narrow_counts.layer_parameters // narrow.num_hidden_layers
    inner = narrow.intermediate_size
    solve = 0 if compensate == "none" else _DOUBLE * (4 * inner**2 + 2 * inner * narrow.hidden_size)
    return kept_bytes + layer + solve + batch_tokens * dense.intermediate_size * (4 * _SINGLE + 2 * _DOUBLE)
