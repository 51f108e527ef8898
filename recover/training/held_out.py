"""How far the student is from the teacher on windows that it was not trained on, text by text.

Shapes: w windows of t tokens, d teacher hidden size.
"""

from typing import Any

import torch
from torch import Tensor

from ..losses.chunks import Head, chunked_forward_kl
from ..losses.heads import Finish, finishing_for_now, head_of, run_decoder

__all__ = ["HeldOut", "divergences", "score"]


class HeldOut:
    """Windows to score on and what the teacher makes of them; of the teacher, only the head is kept."""

    @torch.no_grad()
    def __init__(self, teacher: Any, windows: dict[str, Tensor]) -> None:
        """Take a causal language model on its device, and text -> (w, t) int64."""
        self.windows, self.head = windows, head_of(teacher)
        self.expected = {
            text: [run_decoder(teacher, window[None].to(teacher.device))[0][0].cpu() for window in part]
            for text, part in windows.items()
        }  # text -> w of (t, d), what the teacher's head reads

    @torch.no_grad()
    def divergences(self, student: Any) -> dict[str, float]:
        """Mean KL(teacher || student) in nats per token, at temperature 1.

        Args:
            student: a model that `heads.finishing` has prepared, on its device; its mode (training or not) is
                left as it was.
        """
        training = student.training
        student.eval()
        found = {}
        for text, windows in self.windows.items():
            total = 0.0
            for window, expected in zip(windows, self.expected[text], strict=True):
                total += float(student(window[None].to(student.device), finish=self._against(expected)))
            found[text] = total / len(windows)
        student.train(training)
        return found

    def _against(self, expected: Tensor) -> Finish:
        def finish(hidden: Tensor, _: tuple[Tensor, ...], head: Head) -> Tensor:
            return chunked_forward_kl(expected.to(hidden.device), self.head, hidden[0], head)

        return finish


def divergences(teacher: Any, student: Any, held_out: dict[str, Tensor]) -> dict[str, float]:
    """Of windows that are scored once; see `HeldOut`."""
    with finishing_for_now(student):
        return HeldOut(teacher, held_out).divergences(student)


def score(now: dict[str, float], start: dict[str, float]) -> float:
    """Mean over texts of the divergence relative to the start's: 1 at the start, 0 at the teacher.

    A text on which the student was far off must not outweigh the others, so each counts relative to itself.
    """
    parts = [now[text] / max(start[text], 1e-12) for text in start]
    return sum(parts) / len(parts)
