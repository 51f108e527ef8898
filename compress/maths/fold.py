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
    "stream_scale",
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
    """(k, d) readout without a fit: the basis's inverse over the scale of the stream.

    A stock norm averages squares over k entries instead of d, so its output is `stream_scale` times the one
    that the dense readers expect; and a reader without a norm sees the scaled stream itself.
    """
    return expand.double() / stream_scale(expand.shape[1], expand.shape[0])


def stream_scale(dense_width: int, width: int) -> float:
    """What the narrow stream is multiplied with: sqrt(k / d).

    Then its mean square over k entries is the dense stream's over d, as far as the basis holds it, and the
    number that norms add under the root stays what it is, for whatever else shares it.
    """
    scale: float = (width / dense_width) ** 0.5
    return scale
