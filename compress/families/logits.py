"""What some families do to the logits behind their head, as transformers' own classes compute it."""

from typing import Any

import torch
from torch import Tensor

__all__ = ["finished_logits"]


def finished_logits(raw: Tensor, config: Any) -> Tensor:
    """Logits (..., v) from what the head gives: scaled (Granite, Cohere) or capped (Gemma 2)."""
    divisor = getattr(config, "logits_scaling", None) or 1.0
    factor = getattr(config, "logit_scale", None) or 1.0
    cap = getattr(config, "final_logit_softcapping", None)
    if factor != divisor:
        raw = raw * (factor / divisor)
    return raw if cap is None else torch.tanh(raw / cap) * cap
