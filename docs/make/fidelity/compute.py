"""What a narrower residual stream saves in compute: with one shared basis, and with a map at every junction.

The paper, like SliceGPT, uses another basis at each junction, so that each of the two residual additions of a
layer multiplies the stream by a (k, k) matrix. FLOPs predict from which width on that pays; the same matrix
products are then timed.
"""

from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

import torch
from torch import Tensor

__all__ = ["LLAMA_70B", "LayerShape", "break_even", "flops_fraction", "timed"]

FRACTIONS = (1.0, 0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.6)
ROUNDS = 7


class LayerShape(NamedTuple):
    """Widths of one decoder layer with a gated MLP."""

    hidden: int
    mlp: int
    query: int  # heads * head_dim
    key_value: int  # key/value heads * head_dim

    @property
    def per_hidden(self) -> int:
        """Multiply-adds per token and unit of hidden width."""
        return 2 * self.query + 2 * self.key_value + 3 * self.mlp


LLAMA_70B = LayerShape(8192, 28672, 8192, 1024)


def flops_fraction(shape: LayerShape, fraction: float, *, junctions: int) -> float:
    """FLOPs of a layer at `fraction` of its hidden width, relative to the dense layer.

    Args:
        shape: of the dense layer.
        fraction: of the hidden width, in (0, 1].
        junctions: (k, k) products per layer: 0 with one basis, 2 with a map at every junction.
    """
    return fraction + junctions * shape.hidden * fraction**2 / shape.per_hidden


def break_even(shape: LayerShape, *, junctions: int) -> float:
    """The fraction of the hidden width below which the narrow layer has fewer FLOPs than the dense one."""
    extra = junctions * shape.hidden / shape.per_hidden
    return 1.0 if extra == 0 else ((1 + 4 * extra) ** 0.5 - 1) / (2 * extra)


@torch.no_grad()
def timed(shape: LayerShape, *, tokens: int) -> list[dict[str, Any]]:
    """Median seconds of one layer's matrix products at several widths, both ways, in shuffled rounds.

    Args:
        shape: of the dense layer.
        tokens: rows of the stream.
    """
    seconds: dict[tuple[float, int], list[float]] = {}
    weights = {fraction: _weights(shape, fraction, tokens) for fraction in FRACTIONS}
    order = [(fraction, junctions) for fraction in FRACTIONS for junctions in (0, 2)]
    generator = torch.Generator().manual_seed(0)
    for _ in range(ROUNDS):
        for place in torch.randperm(len(order), generator=generator).tolist():
            fraction, junctions = order[place]
            seconds.setdefault(order[place], []).append(_once(weights[fraction], junctions))
    base = median(seconds[1.0, 0])
    return [
        {
            "fraction": fraction,
            "one_basis": median(seconds[fraction, 0]) / base,
            "one_basis_predicted": flops_fraction(shape, fraction, junctions=0),
            "per_junction": median(seconds[fraction, 2]) / base,
            "per_junction_predicted": flops_fraction(shape, fraction, junctions=2),
        }
        for fraction in FRACTIONS
    ]


class _Layer(NamedTuple):
    stream: Tensor  # (tokens, k)
    readers: tuple[Tensor, Tensor]  # of attention and of the MLP, (out, k)
    writers: tuple[Tensor, Tensor]  # (k, in)
    junction: Tensor  # (k, k)


def _weights(shape: LayerShape, fraction: float, tokens: int) -> _Layer:
    width = round(shape.hidden * fraction / 16) * 16
    generator = torch.Generator().manual_seed(1)

    def random(*size: int) -> Tensor:
        scale: float = width**-0.5
        return torch.randn(*size, generator=generator) * scale

    return _Layer(
        stream=random(tokens, width),
        readers=(random(shape.query + 2 * shape.key_value, width), random(2 * shape.mlp, width)),
        writers=(random(width, shape.query), random(width, shape.mlp)),
        junction=random(width, width),
    )


def _once(layer: _Layer, junctions: int) -> float:
    started = perf_counter()
    for reader, writer in zip(layer.readers, layer.writers, strict=True):
        inner = layer.stream @ reader.T
        kept = layer.stream @ layer.junction if junctions else layer.stream
        torch.add(kept, inner[:, : writer.shape[1]] @ writer.T)
    return perf_counter() - started
