"""How far the student is from the teacher on windows that it was not trained on, text by text.

Shapes: w windows of t tokens.
"""

from typing import Any

import torch
from torch import Tensor

from .heads import head_of, run_decoder
from .loss import chunked_forward_kl

__all__ = ["divergences", "score"]


@torch.no_grad()
def divergences(teacher: Any, student: Any, held_out: dict[str, Tensor]) -> dict[str, float]:
    """Mean KL(teacher || student) in nats per token, at temperature 1.

    Args:
        teacher: causal language model on its device.
        student: causal language model on its device; its mode (training or not) is left as it was.
        held_out: text -> (w, t) int64.
    """
    training = student.training
    student.eval()
    found = {}
    for text, windows in held_out.items():
        total = 0.0
        for window in windows:
            expected, _ = run_decoder(teacher, window[None].to(teacher.device))
            hidden, _ = run_decoder(student, window[None].to(student.device))
            kl = chunked_forward_kl(
                expected[0].to(hidden.device), head_of(teacher), hidden[0], head_of(student)
            )
            total += float(kl)
        found[text] = total / len(windows)
    student.train(training)
    return found


def score(now: dict[str, float], start: dict[str, float]) -> float:
    """Mean over texts of the divergence relative to the start's: 1 at the start, 0 at the teacher.

    A text on which the student was far off must not outweigh the others, so each counts relative to itself.
    """
    parts = [now[text] / max(start[text], 1e-12) for text in start]
    return sum(parts) / len(parts)
