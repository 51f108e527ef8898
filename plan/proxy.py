"""How much a candidate would lose, from one pass over the dense model: a proxy that ranks, not a perplexity.

Shapes: L layers; d hidden size; u units (neurons, key-value groups or experts) of a sublayer.

Every term is a squared error of the residual stream relative to it. For layer l and its sublayer s, b_ls is
the energy of what the sublayer adds over that of the stream:

    dropped units      b_ls * (share of the output's energy that the least important units carry)
    narrower stream    r * (1 + sum b_ls), r the share of the energy outside the leading directions: each
                       sublayer reads it, and so does the head
    dropped layer      2 (1 - cos): what turns by that angle, relative to its length squared

The compensation repairs a part of each, which the proxy does not know.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ..compress.depth import layers_that_stay
from ..compress.families import Axis
from .axes import AXES, Candidate

__all__ = ["LayerLosses", "Observed", "proxy_loss", "tail_shares"]

Array = NDArray[np.float64]


class LayerLosses(NamedTuple):
    """One sublayer of one layer."""

    share: float  # b_ls
    tails: dict[Axis, Array]  # axis -> (u + 1,) share of the energy lost when so many units are kept


class Observed(NamedTuple):
    """What one pass shows."""

    spectrum: Array  # (d + 1,) share of the stream's energy outside so many leading directions
    influence: Array  # (L,) mean of 1 - cos
    layers: Sequence[Sequence[LayerLosses]]  # L of them, one entry per sublayer


def tail_shares(energies: Array) -> Array:
    """(u + 1,) what is lost, of all, when the largest 0, 1, ... u of the energies (u,) are kept."""
    kept = np.concatenate([[0.0], np.cumsum(np.sort(energies)[::-1])])
    shares: Array = np.clip(1.0 - kept / max(float(kept[-1]), 1e-300), 0.0, 1.0)
    return shares


def proxy_loss(observed: Observed, candidate: Candidate) -> float:
    """The relative squared error that a candidate would make of the stream, before any fit."""
    values = dict(zip(AXES, candidate, strict=True))
    stay = layers_that_stay(torch.from_numpy(observed.influence), values["layers"])
    lost = 2.0 * float(observed.influence.sum() - observed.influence[list(stay)].sum())
    branches = 0.0
    for layer in stay:
        for share, tails in observed.layers[layer]:
            branches += share
            lost += share * sum(float(tail[values[axis]]) for axis, tail in tails.items())
    return lost + float(observed.spectrum[values["hidden"]]) * (1.0 + branches)
