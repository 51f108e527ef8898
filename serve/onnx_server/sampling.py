"""Choosing the next token from logits: greedy, or drawn from the likeliest tokens.

Done here and not by the runtime, because the runtime stops at an end-of-text token even when a request
says `ignore_eos`; it costs one copy of the logits per token, 1 % of SmolLM2's time.

Shapes: V vocabulary.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["choose_token"]


def choose_token(
    logits: NDArray[np.float32],
    *,
    temperature: float,
    top_p: float,
    top_k: int,
    generator: np.random.Generator,
) -> int:
    """The next token.

    Args:
        logits: (V,), in any float dtype; the arithmetic is float64.
        temperature: At least 0; 0 takes the likeliest token, the lowest id among equals.
        top_p: In (0, 1]; draw among the fewest tokens that hold this much probability.
        top_k: At least 0; draw among this many likeliest tokens, 0 among all.
        generator: Source of randomness.
    """
    if temperature == 0:
        return int(logits.argmax())
    scaled = logits.astype(np.float64) / temperature
    weights = np.exp(scaled - scaled.max())  # (V,)
    if top_k or top_p < 1:
        order = np.argsort(-weights, kind="stable")[: top_k or None]  # likeliest first
        held = np.cumsum(weights[order])
        kept = int(np.searchsorted(held, top_p * held[-1])) + 1
        order = order[:kept]
        return int(generator.choice(order, p=weights[order] / weights[order].sum()))
    held = np.cumsum(weights)
    return min(int(np.searchsorted(held, generator.random() * held[-1], side="right")), len(held) - 1)
