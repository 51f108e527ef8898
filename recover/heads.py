"""From the hidden states that a head reads to logits, as transformers' own classes compute them.

Some families scale or cap the logits behind the head. Applying the head to a few positions at a time is what
keeps memory bounded, so these steps are repeated here; a test compares each family with its class.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["head_of", "run_decoder"]


def head_of(model: "PreTrainedModel") -> Callable[[Tensor], Tensor]:
    """A function (n, hidden) -> (n, vocabulary) logits; gradients reach the head's weight."""
    head: Any = model.get_output_embeddings()
    config = model.config
    divisor = getattr(config, "logits_scaling", None) or 1.0  # Granite
    factor = getattr(config, "logit_scale", None) or 1.0  # Cohere
    cap = getattr(config, "final_logit_softcapping", None)  # Gemma 2

    def logits(hidden: Tensor) -> Tensor:
        result: Tensor = head(hidden) * (factor / divisor)
        return result if cap is None else torch.tanh(result / cap) * cap

    return logits


def run_decoder(model: Any, token_ids: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """What the head reads, (w, t, hidden), and the residual stream before each layer but the first.

    Args:
        model: a causal language model, or a wrapper of one with the same call (DDP).
        token_ids: (w, t) int64 on the model's device.
    """
    # the whole model is called, since wrappers watch that; one position of logits is the least it computes
    out = model(token_ids, use_cache=False, output_hidden_states=True, logits_to_keep=1)
    return out.hidden_states[-1], tuple(out.hidden_states[1:-1])
