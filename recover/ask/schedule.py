"""How the learning rate runs over the steps. Pure.

Adam's first updates are the signs of one noisy gradient: several times longer than later ones, which average
many. So the rate rises over at least as many steps as the averages need, and already the first step moves.
"""

import math

__all__ = ["default_warmup", "rate_factor"]

_AVERAGED = 10  # steps that Adam's first moment averages, at beta1 = 0.9


def default_warmup(steps: int) -> int:
    """A twentieth of the steps, but at least ten and at most a quarter of them."""
    return min(max(_AVERAGED, steps // 20), steps // 4)


def rate_factor(step: int, steps: int, warmup: int) -> float:
    """What the highest rate is multiplied by: up in a straight line, then down along half a cosine.

    Args:
        step: from 0.
        steps: in all.
        warmup: steps below the highest rate at the beginning.

    Returns:
        In (0, 1] for every step that is taken.
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
