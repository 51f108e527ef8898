"""From the hidden states that a head reads to logits, as transformers' own classes compute them.

Some families scale or cap the logits behind the head. Applying the head to a few positions at a time is what
keeps memory bounded, so these steps are repeated here; a test compares each family with its class.
"""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .chunks import Head

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["head_of", "run_decoder", "run_to_head"]


def head_of(model: "PreTrainedModel") -> Head:
    """(n, hidden) -> (n, vocabulary) logits; gradients reach the head's own parameters."""
    head: Any = model.get_output_embeddings()
    config = model.config
    divisor = getattr(config, "logits_scaling", None) or 1.0  # Granite
    factor = getattr(config, "logit_scale", None) or 1.0  # Cohere
    cap = getattr(config, "final_logit_softcapping", None)  # Gemma 2

    def logits(hidden: Tensor) -> Tensor:
        result: Tensor = head(hidden)
        if factor != divisor:
            result = result * (factor / divisor)
        return result if cap is None else torch.tanh(result / cap) * cap

    return Head(logits, tuple(head.parameters()))


def run_decoder(model: Any, token_ids: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """What the head reads, (w, t, hidden), and the residual stream before each layer but the first.

    Args:
        model: a causal language model, or a wrapper of one with the same call (DDP).
        token_ids: (w, t) int64 on the model's device.
    """
    # the whole model is called, since wrappers watch that; one position of logits is the least it computes
    out = model(token_ids, use_cache=False, output_hidden_states=True, logits_to_keep=1)
    return out.hidden_states[-1], tuple(out.hidden_states[1:-1])


def run_to_head(model: "PreTrainedModel", token_ids: Tensor) -> Tensor:
    """What the head reads, (w, t, hidden), and nothing else kept; for a model that is not wrapped."""
    decoder: Any = model.get_decoder()
    hidden: Tensor = decoder(token_ids, use_cache=False).last_hidden_state
    return hidden
