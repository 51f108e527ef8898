"""Absorbing norm gains and changing the basis of each tensor (Theorem 2.1, METHOD "Folding"). Pure.

Shapes: d hidden size, k new hidden size, o and i a linear layer's out and in features. Hugging Face
stores a linear weight as (out, in). Q is (d, k); M (k, d) maps the narrow normalised stream back.
All results are float64; the caller casts once.
"""

from torch import Tensor

__all__ = [
    "absorb_gain",
    "fold_embedding",
    "fold_reader",
    "fold_writer",
    "fold_writer_bias",
    "narrow_epsilon",
    "unfitted_readout",
]


def absorb_gain(weight: Tensor, gain: Tensor) -> Tensor:
    """(o, d) reader that reads x / rms(x) instead of gain * x / rms(x)."""
    return weight.double() * gain.double()[None, :]


def fold_reader(weight: Tensor, readout: Tensor) -> Tensor:
    """(o, d) reader of the dense normalised stream -> (o, k) reader of the narrow one."""
    return weight.double() @ readout.double().T


def fold_writer(weight: Tensor, project: Tensor) -> Tensor:
    """(d, i) writer -> (k, i)."""
    return project.double().T @ weight.double()


def fold_writer_bias(bias: Tensor, project: Tensor) -> Tensor:
    """(d,) -> (k,)."""
    return bias.double() @ project.double()


def fold_embedding(weight: Tensor, project: Tensor) -> Tensor:
    """(v, d) -> (v, k)."""
    return weight.double() @ project.double()


def unfitted_readout(expand: Tensor) -> Tensor:
    """(k, d) readout without a fit: sqrt(d / k) times the basis's inverse.

    A stock RMSNorm averages squares over k entries instead of d, so its output is sqrt(k / d) times
    the one the dense readers expect.
    """
    width, dense_width = expand.shape
    scale: float = (dense_width / width) ** 0.5
    return expand.double() * scale


def narrow_epsilon(epsilon: float, dense_width: int, width: int) -> float:
    """`rms_norm_eps` that keeps its weight relative to the sum of squares."""
    return epsilon * dense_width / width
