"""How much a candidate would lose, from one pass over the dense model: a proxy that ranks, not a perplexity.

Shapes: L layers; d hidden size; u units (neurons, key-value groups or experts) of a sublayer.

There is a term for each axis, a squared error of the residual stream relative to it. For layer l and its
sublayer s, b_ls is the energy of what the sublayer adds over that of the stream behind it:

    hidden              r * (1 + sum b_ls), r the share of the energy outside the leading directions: each
                        sublayer reads it, and so does the head
    mlp, groups, ...    sum of b_ls * (share of the output's energy that the least important units carry)
    layers              sum of b_ls over the layers that go

How much of each term the fits repair differs from axis to axis. A search measures every axis alone first, and
weighs each term by what it found. Without a search the terms weigh what they did on SmolLM2 (docs/LOG.md).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ..compress.families.family import Axis
from ..compress.maths.depth import layers_that_stay
from .axes import AXES, Candidate

__all__ = ["PRIOR_WEIGHTS", "LayerLosses", "Observed", "proxy_loss", "proxy_terms", "tail_shares"]

Array = NDArray[np.float64]

# Nats of log-perplexity for each unit of a term, on nine kinds of text after the usual fits (docs/LOG.md).
PRIOR_WEIGHTS: Mapping[Axis, float] = {
    "hidden": 6.0,
    "mlp": 1.6,
    "kv_groups": 3.0,
    "layers": 2.0,
    "experts": 1.6,  # as the MLP: not measured
}


class LayerLosses(NamedTuple):
    """One sublayer of one layer."""

    share: float  # b_ls
    tails: dict[Axis, Array]  # axis -> (u + 1,) share of the energy lost when so many units are kept


class Observed(NamedTuple):
    """What one pass shows."""

    spectrum: Array  # (d + 1,) share of the stream's energy outside so many leading directions
    influence: Array  # (L,) mean of 1 - cos between a layer's input and output
    layers: Sequence[Sequence[LayerLosses]]  # L of them, one entry per sublayer


def tail_shares(energies: Array) -> Array:
    """(u + 1,) what is lost, of all, when the largest 0, 1, ... u of the energies (u,) are kept."""
    kept = np.concatenate([[0.0], np.cumsum(np.sort(energies)[::-1])])
    shares: Array = np.clip(1.0 - kept / max(float(kept[-1]), 1e-300), 0.0, 1.0)
    return shares


def proxy_terms(observed: Observed, candidate: Candidate) -> dict[Axis, float]:
    """Axis -> the relative squared error that it makes of the stream, before any fit."""
    values = dict(zip(AXES, candidate, strict=True))
    stay = set(layers_that_stay(torch.from_numpy(observed.influence), values["layers"]))
    terms: dict[Axis, float] = dict.fromkeys(AXES, 0.0)
    branches = 0.0
    for index, layer in enumerate(observed.layers):
        for share, tails in layer:
            if index not in stay:
                terms["layers"] += share
                continue
            branches += share
            for axis, tail in tails.items():
                terms[axis] += share * float(tail[values[axis]])
    terms["hidden"] = float(observed.spectrum[values["hidden"]]) * (1.0 + branches)
    return terms


def proxy_loss(
    observed: Observed, candidate: Candidate, weights: Mapping[Axis, float] | None = None
) -> float:
    """The weighted sum of the terms.

    Args:
        observed: of the model.
        candidate: any.
        weights: loss per unit of each axis' term; `PRIOR_WEIGHTS` where none is named.
    """
    terms = proxy_terms(observed, candidate)
    known = {**PRIOR_WEIGHTS, **(weights or {})}
    return sum(known[axis] * term for axis, term in terms.items())
