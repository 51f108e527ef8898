"""A smaller head dimension as a rank inside the old shapes, which computes what the narrower computes.

**Values.** All query heads h of a key-value group read the same values, of moment G = S S^T after attention.
The values keep the r directions that the outputs O_h feel most: [O_h S]_h = U D V^T, P = S V_r V_r^T S^-1
(an SVD in the metric of the activations, as MoDeGPT's for values, arXiv 2408.09632, with one P per group).

**Queries and keys.** Rotation turns pair i by theta^(-2 i / d). Pairs a to a + r/2 of d/2 turn as those of a
head of r with theta^(r / d) and positions divided by theta^(2 a / d), which stock classes have (`rope_theta`,
linear scaling); no other choice of pairs has such a form, and one choice serves all layers and heads.

Shapes: d head_dim; n query heads of a group; m hidden size.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

__all__ = ["attended_moments", "keep_pairs", "keep_value_directions", "value_projection"]


def value_projection(outputs: Tensor, moment: Tensor, rank: int) -> Tensor:
    """The projection P (d, d) of that rank which changes sum_h |O_h (1 - P) x|^2 least.

    Args:
        outputs: (n, m, d) what each query head writes, float64.
        moment: (d, d) E[x x^T] of what the heads of the group attend to, float64.
        rank: of P.
    """
    values, vectors = torch.linalg.eigh(moment)
    roots = values.clamp_min(1e-9 * float(values.max())).sqrt()
    root, inverse = (vectors * roots) @ vectors.T, (vectors / roots) @ vectors.T
    kept = torch.linalg.svd((outputs @ root).flatten(0, 1), full_matrices=False).Vh[:rank].T
    projection: Tensor = root @ kept @ kept.T @ inverse
    return projection


@torch.no_grad()
def attended_moments(model: Any, windows: Tensor) -> list[Tensor]:
    """Per layer (groups, d, d), float64: second moments of what goes into the output projection.

    Args:
        model: a decoder with `self_attn.o_proj` in its layers.
        windows: (w, t) token ids.
    """
    config, layers = model.config, model.model.layers
    groups, size = config.num_key_value_heads, config.head_dim
    sums = [torch.zeros(groups, size, size, dtype=torch.float64) for _ in layers]

    def seen(into: Tensor) -> Any:
        def hook(_module: Any, inputs: tuple[Tensor, ...]) -> None:
            heads = inputs[0].reshape(-1, groups, config.num_attention_heads // groups, size)
            rows = heads.permute(1, 0, 2, 3).flatten(1, 2).double()  # (groups, rows, d)
            into.add_(rows.mT @ rows)

        return hook

    hooks = [
        layer.self_attn.o_proj.register_forward_pre_hook(seen(into))
        for layer, into in zip(layers, sums, strict=True)
    ]
    for window in windows:
        model(window[None], use_cache=False)
    for hook in hooks:
        hook.remove()
    return [each / windows.numel() for each in sums]


def keep_value_directions(model: Any, moments: list[Tensor], rank: int) -> None:
    """Project the values of every key-value group to `rank` directions, in place."""
    groups, size = model.config.num_key_value_heads, model.config.head_dim
    for layer, moment in zip(model.model.layers, moments, strict=True):
        attention = layer.self_attn
        outputs = attention.o_proj.weight.data  # (m, heads * d)
        heads = outputs.reshape(len(outputs), groups, -1, size).permute(1, 2, 0, 3).double()
        values = attention.v_proj.weight.data.view(groups, size, -1)
        for value, output, gram in zip(values, heads, moment, strict=True):
            value.copy_(value_projection(output, gram, rank) @ value.double())


def keep_pairs(model: Any, first: int, count: int) -> None:
    """Zero every rotary pair of queries and keys but `count` from `first` on, in place."""
    size = model.config.head_dim
    dropped = torch.ones(size // 2, dtype=torch.bool)
    dropped[first : first + count] = False
    for weight in _queries_and_keys(model):
        weight.view(-1, 2, size // 2, weight.shape[-1])[:, :, dropped] = 0


def _queries_and_keys(model: Any) -> Iterator[Tensor]:
    for layer in model.model.layers:
        yield layer.self_attn.q_proj.weight.data
        yield layer.self_attn.k_proj.weight.data
