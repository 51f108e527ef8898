"""Attention of one new token per text over a cache, without a copy of keys and values for every query head.

Shapes: b texts; h query heads in groups of g that share keys and values; t tokens so far; e head width.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["grouped_attention"]

_NAME = "dotresize_grouped"


@contextmanager
def grouped_attention(model: "PreTrainedModel") -> Iterator[None]:
    """Let a model attend in groups while this is entered; one that does not use torch's attention is left."""
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    if model.config._attn_implementation != "sdpa":
        yield
        return
    AttentionInterface.register(_NAME, _attend)
    AttentionMaskInterface.register(_NAME, sdpa_mask)
    model.set_attn_implementation(_NAME)
    try:
        yield
    finally:
        model.set_attn_implementation("sdpa")


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, None]:
    """As transformers' own: query (b, h, n, e), key and value (b, h / g, t, e) -> (b, n, h, e)."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    texts, heads, tokens, width = query.shape
    if tokens > 1:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    grouped = query.reshape(texts, key.shape[1], -1, width)  # (b, h / g, g, e): one query after another
    out = torch.nn.functional.scaled_dot_product_attention(
        grouped, key, value, attn_mask=attention_mask, scale=options.get("scaling")
    )
    return out.reshape(texts, 1, heads, width), None
