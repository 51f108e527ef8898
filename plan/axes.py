"""The axes that a plan moves along, and the values that architecture, kernels and engines take on each."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, get_args

from ..compress.families.family import Axis, Family
from ..compress.families.shape import widths_of
from ..compress.record.config import CompressConfig
from ..compress.record.report import Widths
from ..errors import OptionError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

__all__ = [
    "AXES",
    "FIELDS",
    "OPTIONS",
    "Axes",
    "Candidate",
    "axes_of",
    "config_of",
    "labelled",
    "moved_axes",
    "widths_with",
]

AXES: tuple[Axis, ...] = get_args(Axis)
FIELDS: dict[Axis, str] = {  # of Widths
    "hidden": "hidden_size",
    "mlp": "intermediate_size",
    "kv_groups": "num_key_value_heads",
    "layers": "num_hidden_layers",
    "experts": "num_experts",
}
OPTIONS: dict[Axis, str] = {  # of CompressConfig
    "hidden": "hidden_size",
    "mlp": "intermediate_size",
    "kv_groups": "kv_groups",
    "layers": "layers",
    "experts": "experts",
}
PREFERRED_GRIDS = (64, 32, 16, 8)  # the coarsest that leaves a model 32 steps
STEPS = 32
GROUP_GRIDS = (128, 64, 32)  # weights that share a scale of 4 bits; the coarsest that leaves a few steps
GROUP_STEPS = 4
SMALLEST_FRACTION = 0.25  # of an axis: what is left of a model beyond that is of no use

Candidate = tuple[int, ...]  # a value for each of AXES


@dataclass(frozen=True, kw_only=True)
class Axes:
    """Legal values of each axis, largest first; the original's own where engines take it."""

    dense: Candidate
    values: tuple[tuple[int, ...], ...]  # in the order of AXES
    heads_per_group: int
    hidden_over_heads: bool  # transformers wants hidden sizes that the heads divide

    @property
    def moving(self) -> tuple[int, ...]:
        """Numbers of the axes that have more than one value."""
        return tuple(index for index, values in enumerate(self.values) if len(values) > 1)

    def is_legal(self, candidate: Candidate) -> bool:
        """Whether the values go together."""
        hidden, heads = candidate[0], candidate[2] * self.heads_per_group
        return not self.hidden_over_heads or hidden % heads == 0


def axes_of(
    config: "PreTrainedConfig", family: Family, tensor_parallel_size: int = 1, *, grouped: bool = False
) -> Axes:
    """What can be planned for a model.

    Args:
        config: of the model.
        family: of the model.
        tensor_parallel_size: over how many GPUs the engine will split heads and MLP.
        grouped: the result will be quantised in groups of weights, which must divide its widths.

    Raises:
        OptionError: the number is not positive, or no width can be split so.
    """
    if tensor_parallel_size < 1:
        raise OptionError(f"--tensor-parallel-size is {tensor_parallel_size}; it must be at least 1.")
    widths = widths_of(config, family)
    ratio = widths.num_attention_heads // widths.num_key_value_heads
    tied = family.ties_head_dim(config) and family.rewritten_as is None
    divided = family.hidden_size_divisor is not None
    values = []
    for axis in AXES:
        own = int(getattr(widths, FIELDS[axis]))
        if axis == "hidden":
            found = _hidden_values(widths, ratio, divided=divided, grouped=grouped)
        elif axis == "mlp":
            found = _mlp_values(own, tensor_parallel_size, grouped=grouped)
        else:
            found = _values(axis, own, config, tensor_parallel_size, ratio)
        stays = (tied and axis in ("hidden", "kv_groups")) or (axis == "hidden" and not family.rotates)
        if stays or family.limit(axis, config) is not None:
            found = tuple(value for value in found if value == own)
        if not found:
            raise OptionError(
                f"no {axis} of {own} at most can be split over {tensor_parallel_size} GPUs; give a smaller "
                "--tensor-parallel-size."
            )
        values.append(found)
    return Axes(
        dense=tuple(int(getattr(widths, FIELDS[axis])) for axis in AXES),
        values=tuple(values),
        heads_per_group=ratio,
        hidden_over_heads=divided,
    )


def _values(axis: Axis, own: int, config: Any, parallel: int, ratio: int) -> tuple[int, ...]:
    floor = _floor(own)
    if axis == "kv_groups":
        fits = {groups: _splits(groups, ratio, parallel) for groups in range(floor, own + 1)}
        legal, whole = [groups for groups, fit in fits.items() if fit and groups < own], fits[own]
    elif axis == "experts":
        least = max(floor, getattr(config, "num_experts_per_tok", None) or 1)
        legal, whole = list(range(least, own)), True
    else:
        legal, whole = list(range(floor, own)), True
    return tuple(sorted({*legal, *([own] if whole else [])}, reverse=True))


def _mlp_values(own: int, parallel: int, *, grouped: bool) -> tuple[int, ...]:
    grid = _grid(own, parallel, grouped=grouped)
    legal = [value for value in range(grid, own, grid) if value >= _floor(own)]
    return tuple(sorted({*legal, *([own] if own % parallel == 0 else [])}, reverse=True))


def _hidden_values(widths: Widths, ratio: int, *, divided: bool, grouped: bool) -> tuple[int, ...]:
    """On the grid, and where the heads must divide it, multiples of what any number of groups has."""
    own, found = widths.hidden_size, {widths.hidden_size}
    counts = {groups * ratio for groups in range(1, widths.num_key_value_heads + 1)} if divided else {1}
    for heads in counts:
        grid = _grid(own, heads, grouped=grouped)
        found |= {value for value in range(grid, own, grid) if value >= _floor(own)}
    return tuple(sorted(found, reverse=True))


def _floor(own: int) -> int:
    return max(1, math.ceil(SMALLEST_FRACTION * own))


def _grid(own: int, divisor: int, *, grouped: bool) -> int:
    """The coarsest preferred multiple that leaves enough steps and is one of the divisor as well."""
    groups = [math.lcm(group, divisor) for group in GROUP_GRIDS] if grouped else []
    if groups and groups[-1] < own:  # else no narrower width is a multiple of both
        return next((grid for grid in groups if own >= GROUP_STEPS * grid), groups[-1])
    grids = [math.lcm(grid, divisor) for grid in PREFERRED_GRIDS]
    fine = next((grid for grid in grids if own >= STEPS * grid), grids[-1])
    return fine if fine < own else divisor


def _splits(groups: int, ratio: int, parallel: int) -> bool:
    """Whether an engine can deal out the heads: groups are dealt out too, or each is copied to some GPUs."""
    return groups * ratio % parallel == 0 and (groups % parallel == 0 or parallel % groups == 0)


def config_of(candidate: Candidate, dense: Candidate, base: CompressConfig) -> CompressConfig:
    """The options that give these widths; axes that keep their value are left alone."""
    widths = {OPTIONS[axis]: new for axis, new, old in zip(AXES, candidate, dense, strict=True) if new != old}
    cleared: dict[str, Any] = dict.fromkeys(("width", "mlp_width", *OPTIONS.values()))
    return CompressConfig(**{**vars(base), **cleared, **widths})


def labelled(candidate: Candidate) -> dict[Axis, int]:
    """Axis -> value."""
    return dict(zip(AXES, candidate, strict=True))


def moved_axes(candidate: Candidate, dense: Candidate) -> tuple[Axis, ...]:
    """The axes on which they differ."""
    return tuple(axis for axis, new, old in zip(AXES, candidate, dense, strict=True) if new != old)


def widths_with(candidate: Candidate, dense: Widths) -> Widths:
    """The dense widths with a candidate's."""
    changed = {FIELDS[axis]: value for axis, value in labelled(candidate).items()}
    heads = dense.num_attention_heads // dense.num_key_value_heads * changed["num_key_value_heads"]
    return Widths(**{**vars(dense), **changed, "num_attention_heads": heads})
