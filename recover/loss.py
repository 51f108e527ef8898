"""What the student is pulled to: the teacher's next-token distribution. Pure.

Shapes: n positions, v vocabulary, k kept teacher tokens, d teacher and s student hidden size.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

__all__ = ["chunked_forward_kl", "forward_kl", "next_token_loss", "stream_error", "top_k_forward_kl"]

Head = Callable[[Tensor], Tensor]  # (n, width) hidden states -> (n, v) logits


def forward_kl(teacher: Tensor, student: Tensor, temperature: float = 1.0) -> Tensor:
    """T^2 KL(softmax(teacher / T) || softmax(student / T)) at each position.

    The factor keeps the size of the gradient when T changes (Hinton et al., arXiv 1503.02531, section 2.1).

    Args:
        teacher: logits, (n, v), any float dtype.
        student: logits, (n, v), any float dtype.
        temperature: T, above 0.

    Returns:
        (n,) float32, nats.
    """
    expected = torch.log_softmax(teacher.float() / temperature, -1)
    found = torch.log_softmax(student.float() / temperature, -1)
    return (expected.exp() * (expected - found)).sum(-1) * temperature**2


def chunked_forward_kl(
    teacher_hidden: Tensor,
    teacher_head: Head,
    student_hidden: Tensor,
    student_head: Head,
    *,
    temperature: float = 1.0,
    chunk: int = 256,
) -> Tensor:
    """Mean of `forward_kl` over all positions, with the logits of `chunk` positions in memory at a time.

    Each chunk is computed again in the backward pass instead of being kept.

    Args:
        teacher_hidden: (n, d) what the teacher's head reads; no gradient flows into it.
        teacher_head: gives the teacher's logits.
        student_hidden: (n, s) what the student's head reads.
        student_head: gives the student's logits.
        temperature: see `forward_kl`.
        chunk: positions.

    Returns:
        () float32.
    """

    def part(expected: Tensor, found: Tensor) -> Tensor:
        with torch.no_grad():
            target = teacher_head(expected)
        return forward_kl(target, student_head(found), temperature).sum()

    pairs = zip(teacher_hidden.split(chunk), student_hidden.split(chunk), strict=True)
    parts = [checkpoint(part, expected, found, use_reentrant=False) for expected, found in pairs]
    return torch.stack(parts).sum() / len(student_hidden)


def top_k_forward_kl(log_probabilities: Tensor, token_ids: Tensor, student: Tensor) -> Tensor:
    """KL(teacher || student) at each position where of the teacher only the k likeliest tokens are known.

    All other tokens are one bucket, with the mass that the k leave; merging outcomes can only lower a KL
    (data processing), so this is a lower bound of the full one, exact for k = v.

    Args:
        log_probabilities: (n, k) of the teacher, at temperature 1.
        token_ids: (n, k) int64, which tokens these are.
        student: logits, (n, v).

    Returns:
        (n,) float32, nats.
    """
    found = torch.log_softmax(student.float(), -1).gather(-1, token_ids)
    expected = log_probabilities.float()
    kept = (expected.exp() * (expected - found)).sum(-1)
    rest, found_rest = _log_rest(expected), _log_rest(found)
    return kept + rest.exp() * (rest - found_rest)


def _log_rest(log_probabilities: Tensor) -> Tensor:
    """Log of the mass that (n, k) log-probabilities leave, no less than rounding can tell from nothing."""
    rest = 1.0 - log_probabilities.exp().sum(-1)
    return rest.clamp_min(torch.finfo(torch.float32).eps).log()


def stream_error(teacher: Tensor, student: Tensor, project: Tensor) -> Tensor:
    """Mean squared distance of the student's residual stream from the teacher's in the student's basis.

    The narrow stream is the dense one times a fixed matrix, so the target needs no learned projection. Each
    row is divided by the target's mean square, or the first token's huge activations would own the result.

    Args:
        teacher: (n, d) dense residual stream.
        student: (n, s) narrow residual stream at the same place.
        project: (d, s).

    Returns:
        () float32; 1 when the student is zero.
    """
    target = teacher.float() @ project.float()
    scale = target.square().mean(-1, keepdim=True).clamp_min(1e-12)
    return ((student.float() - target).square() / scale).mean()


def next_token_loss(student: Tensor, token_ids: Tensor) -> Tensor:
    """Mean negative log-likelihood of the text itself, () nats.

    Args:
        student: logits, (n, v).
        token_ids: (n,) int64, the token that follows each position.
    """
    return torch.nn.functional.cross_entropy(student.float(), token_ids)
