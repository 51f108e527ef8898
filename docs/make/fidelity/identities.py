"""Theorem 2.1 and its consequences as numbers: how far each identity is from holding, in float64.

Shapes: n tokens, d old and k new hidden size. A token is a row.
"""

import torch
from torch import Tensor

from dotresize.compress.streams.activations import normalise

__all__ = ["identities"]


def identities(stream: Tensor, plan: Tensor) -> dict[str, float]:
    """The largest deviation of each identity, relative to the largest entry of its left side.

    Args:
        stream: residual stream, (n, d).
        plan: transport matrix T, (d, k), of full column rank.
    """
    x, transport = stream.double(), plan.double()
    old, new = transport.shape
    orthonormal, upper = torch.linalg.qr(transport)  # T = Q R
    rotation, _ = torch.linalg.qr(
        torch.randn(old, old, dtype=x.dtype, generator=torch.Generator().manual_seed(0))
    )
    inside = x @ orthonormal @ orthonormal.T  # the part of each token that lies in the span of Q
    factor = (new / old) ** 0.5  # a norm over k entries averages over k, not d
    return {
        "Q has orthonormal columns: Q^T Q = I": _deviation(
            torch.eye(new, dtype=x.dtype), orthonormal.T @ orthonormal
        ),
        "full width: norm(x Q) = norm(x) Q": _deviation(
            normalise(x, 0.0) @ rotation, normalise(x @ rotation, 0.0)
        ),
        "narrow, x in the span of Q: norm(x Q) R = sqrt(k / d) norm(x) T": _deviation(
            factor * normalise(inside, 0.0) @ transport, normalise(inside @ orthonormal, 0.0) @ upper
        ),
        "narrow, any x: the same (not promised by the theorem)": _deviation(
            factor * normalise(x, 0.0) @ transport, normalise(x @ orthonormal, 0.0) @ upper
        ),
        "R T^+ = Q^T": _deviation(orthonormal.T, upper @ torch.linalg.pinv(transport)),
    }


def _deviation(expected: Tensor, found: Tensor) -> float:
    return float((expected - found).abs().max() / expected.abs().max())
