"""What the student is pulled to: the teacher's next-token distribution. Pure.

Shapes: n positions, v vocabulary, k kept teacher tokens, d teacher and s student hidden size.
"""

import torch
from torch import Tensor

__all__ = ["forward_kl", "forward_kl_and_gradient", "next_token_loss", "stream_error", "top_k_forward_kl"]


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
    expected, found = _log_probabilities(teacher, temperature), _log_probabilities(student, temperature)
    return (expected.exp() * (expected - found)).sum(-1) * temperature**2


def forward_kl_and_gradient(
    teacher: Tensor, student: Tensor, temperature: float = 1.0, *, learn: bool = True
) -> tuple[Tensor, Tensor | None]:
    """`forward_kl`, and how its sum changes with the student's logits.

    The gradient is T (softmax(student / T) - softmax(teacher / T)).

    Args:
        teacher: logits, (n, v), any float dtype.
        student: logits, (n, v), any float dtype.
        temperature: T, above 0.
        learn: whether the gradient is wanted.

    Returns:
        (n,) float32 in nats, and (n, v) float32 or None.
    """
    expected, found = _log_probabilities(teacher, temperature), _log_probabilities(student, temperature)
    probabilities = expected.exp()
    values = expected.sub_(found).mul_(probabilities).sum(-1).mul_(temperature**2)
    if not learn:
        return values, None
    gradient = found.exp_().sub_(probabilities)
    return values, gradient if temperature == 1.0 else gradient.mul_(temperature)


def _log_probabilities(logits: Tensor, temperature: float) -> Tensor:
    scaled = logits.float()
    return torch.log_softmax(scaled if temperature == 1.0 else scaled / temperature, -1)


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
    """Negative log-likelihood of the text itself, (n,) nats.

    Args:
        student: logits, (n, v).
        token_ids: (n,) int64, the token that follows each position.
    """
    return torch.nn.functional.cross_entropy(student.float(), token_ids, reduction="none")
