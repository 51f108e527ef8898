"""First pass: the dense stream alone, to learn which directions of the residual stream carry energy.

Shapes: w windows of t tokens, d hidden size.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..maths.guards import check_finite
from ..maths.moments import second_moment
from ..record.progress import Progress
from ..streams.activations import Branch, Inner, batches, branches_of, normalise
from ..streams.ranks import Ranks
from ..streams.stream import Stream, StreamRoom
from ..weights.dense import Dense
from .ends import embedded

Observe = Callable[[int, Branch, list[Inner], Tensor, Tensor], None]

__all__ = ["Observe", "Survey", "embed", "enter", "survey_stream"]


class Survey(NamedTuple):
    """What one pass over the dense model shows."""

    moment: Tensor  # (d, d) float64 on the CPU, mean over norm sites and tokens of the unit rows' products
    influence: Tensor  # (layers,) float64, mean over tokens of 1 - cosine between a layer's input and output


def embed(dense: Dense, token_ids: Tensor) -> Tensor:
    """The dense residual stream before the first layer, (w, t, d) float32 on the CPU."""
    return enter(dense, token_ids, StreamRoom()).values


def enter(dense: Dense, token_ids: Tensor, room: StreamRoom) -> Stream:
    """The dense residual stream before the first layer."""
    family = dense.family
    paths = filter(None, (family.embedding, family.position_embedding))
    state: dict[str, Tensor] = {
        f"{path}.weight": dense.weights.module(path).get_parameter("weight") for path in paths
    }

    def make(batch: slice) -> Tensor:
        return embedded(state, family, dense.config, token_ids[batch], dense.dtype)

    windows, tokens = token_ids.shape
    return room.filled(windows, tokens, make)


def survey_stream(
    dense: Dense,
    token_ids: Tensor,
    arguments: list[list[dict[str, Any]]],
    device: torch.device,
    progress: Progress,
    observe: Observe | None = None,
    room: StreamRoom | None = None,
    ranks: Ranks | None = None,
) -> Survey:
    """Second moment of x / rms(x) over all norm sites, and how far each layer turns the stream.

    Each token counts the same at each site, because that is what the readers behind a norm see;
    otherwise the first token's huge activations would own the result. Products keep all their digits: in
    bfloat16, which processors with AMX would use, directions without energy get some.

    Args:
        dense: the model; it is only read.
        token_ids: (w, t) int64.
        arguments: of `call_arguments`.
        device: where the arithmetic runs.
        progress: told about every window.
        observe: told, batch by batch, the layer, its branch, what the branch's writers read, the stream in
            front of the branch, and what the branch adds to it.
        room: where the stream is put; in memory when None.
        ranks: the processes that do it together; this one alone when None.
    """
    ranks, all_tokens = ranks or Ranks(), token_ids.numel()
    token_ids = token_ids[ranks.owned(*token_ids.shape)]
    family, config = dense.family, dense.config
    stream = enter(dense, token_ids, room or StreamRoom())
    windows, tokens, width = stream.shape
    epsilon, kind, parallel = family.epsilon_of(config), family.norm_kind, family.runs_in_parallel(config)
    total = torch.zeros(width, width, dtype=torch.float64, device=device)
    count = len(arguments)
    influence = torch.zeros(count, dtype=torch.float64)
    progress.begin("survey the residual stream", count * windows)
    layers = dense.weights.layers(family.layers, range(count), device)
    for index, (layer, layer_arguments) in enumerate(zip(layers, arguments, strict=True)):
        branches = branches_of(layer, family, config, layer_arguments)
        for batch in batches(windows, tokens):
            x = entered = stream[batch].to(device)
            for branch in branches:
                read = entered if parallel else x
                second_moment(total, normalise(read, epsilon, kind).flatten(0, -2))
                if observe is None:
                    change = branch.forward(read)
                else:
                    inner = branch.inner(read)
                    change = branch.output(inner, read)
                    observe(index, branch, inner, x, change)
                x = x + change
                check_finite(f"layer {index}, {branch.sublayer.name}", x)
            cosine = torch.cosine_similarity(entered, x, dim=-1)
            influence[index] += (1.0 - cosine).sum(dtype=torch.float64).cpu()
            stream.put(batch, x.cpu())
            progress.advance(len(x))
    for batch in batches(windows, tokens):
        second_moment(total, normalise(stream[batch].to(device), epsilon, kind).flatten(0, -2))
    ranks.summed(total, influence)
    sites = count * len(family.sublayers) + 1
    return Survey((total / (sites * all_tokens)).cpu(), influence / all_tokens)
