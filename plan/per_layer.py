"""Widths that differ from layer to layer: which engines take them, and how the proxy would spread a budget.

`compress` writes stock models, whose layers are all alike, so every axis of a plan has one value. A row of
the table is what changes here once an engine runs more; docs/PLAN.md says what that would gain.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..compress.families.family import Axis
from .proxy import Observed

__all__ = ["ROWS", "Uniformity", "spread_over_layers", "uniformity_of"]


@dataclass(frozen=True, kw_only=True)
class Uniformity:
    """What one engine does with layers of different widths in the models of a family."""

    engine: Literal["vllm", "onnx"]
    family: str | None  # model_type; None: all that have no row of their own
    per_layer: frozenset[Axis] = frozenset()  # axes that may differ between layers
    reason: str  # why not more


ROWS = (
    Uniformity(
        engine="vllm",
        family=None,
        reason="its config convertor reads per_layer_config, its models read one width (vllm#36512)",
    ),
    Uniformity(
        engine="onnx",
        family=None,
        reason="transformers' models read one width for all layers (#45332), and the export is of theirs",
    ),
)


def uniformity_of(engine: str, family: str, rows: Sequence[Uniformity] = ROWS) -> Uniformity:
    """The row of a family in an engine, else the engine's own."""
    found = [row for row in rows if row.engine == engine and row.family in (family, None)]
    return next((row for row in found if row.family == family), found[0])


def spread_over_layers(observed: Observed, axis: Axis, values: Sequence[int], total: int) -> list[int]:
    """A width for each layer, at most `total` together, with the least loss that the proxy expects.

    The loss of a layer is convex in its width, because the strongest units stay first: taking the step that
    saves most for its width, again and again, is the best there is on the grid.

    Args:
        observed: of the model.
        axis: one that lies inside a sublayer: mlp, kv_groups or experts.
        values: that a layer may have.
        total: of all layers; at least the smallest value for each.
    """
    losses, grid = _losses(observed, axis), sorted(values)
    places = [0] * len(losses)
    while True:
        room = total - sum(grid[place] for place in places)
        saved = {
            layer: (loss[grid[place]] - loss[grid[place + 1]]) / (grid[place + 1] - grid[place])
            for layer, (loss, place) in enumerate(zip(losses, places, strict=True))
            if place + 1 < len(grid) and grid[place + 1] - grid[place] <= room
        }
        if not saved:
            return [grid[place] for place in places]
        places[max(saved, key=lambda layer: saved[layer])] += 1


def _losses(observed: Observed, axis: Axis) -> list[NDArray[np.float64]]:
    """(L, u + 1) of each layer, when so many of its units are kept."""
    return [
        next(part.share * part.tails[axis] for part in layer if axis in part.tails)
        for layer in observed.layers
    ]
