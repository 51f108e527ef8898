"""Sizes of any candidate in microseconds, exact: every size is affine in each axis by itself.

A tensor's shape is a product of widths, and none of them appears twice in it. So a size is a polynomial,
linear in hidden size, MLP width, key-value groups, layers and experts, and its values at the corners of a box
determine it: c(x) = sum over corners of c(corner) times the product over axes of (x - b) / (a - b), a the
corner's value and b the other one. The corners are counted on the meta device with one and two layers. Two
things break the polynomial and get a box of their own: a new hidden size unties the head, and other heads may
be written as another class. What such a class would hold by chance is counted by itself.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from ..bench.record.results import Part, PartCost
from ..bench.roofline.tensor_cost import part_of
from ..compress.families.family import Family
from ..compress.families.hollow import hollow_model
from ..compress.families.shape import head_dim_of, widths_of
from ..compress.record.config import CompressConfig
from ..compress.widths.plan import make_plan
from ..compress.widths.sizes import sizes_of
from .axes import AXES, Axes, Candidate, config_of

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

__all__ = ["CandidateSizes", "SizeModel"]

PARTS: tuple[Part, ...] = ("embedding", "attention", "mlp", "norm", "head")
HIDDEN, GROUPS, LAYERS = AXES.index("hidden"), AXES.index("kv_groups"), AXES.index("layers")


@dataclass(frozen=True, kw_only=True)
class CandidateSizes:
    """Numbers of weights and of cached elements; bytes follow from a dtype."""

    parameters: int
    layer_parameters: int
    cache_elements_per_token: int
    flops_per_token: int
    parts: Mapping[Part, PartCost]  # with one byte for each weight


class SizeModel:
    """Sizes of one model narrowed along its axes."""

    def __init__(self, config: "PreTrainedConfig", family: Family, axes: Axes, base: CompressConfig) -> None:
        """Nothing is counted yet."""
        self.config, self.family, self.axes, self.base = config, family, axes, base
        self._boxes: dict[tuple[bool, bool], _Box] = {}
        self._counted: dict[Candidate, NDArray[np.float64]] = {}

    def sizes(self, candidate: Candidate) -> CandidateSizes:
        """The sizes of a candidate.

        Raises:
            WidthError: its family cannot hold it.
        """
        dense = self.axes.dense
        key = candidate[HIDDEN] != dense[HIDDEN], candidate[GROUPS] != dense[GROUPS]
        if candidate == dense or (any(key) and self._keeps_class(candidate)):
            if candidate not in self._counted:
                self._counted[candidate] = self._count(candidate)
            return _sizes(self._counted[candidate])
        if key not in self._boxes:
            self._boxes[key] = self._count_box(*key)
        return _sizes(self._boxes[key].at(candidate))

    def _keeps_class(self, candidate: Candidate) -> bool:
        """Whether engines that work head_dim out find the right one."""
        heads = candidate[GROUPS] * self.axes.heads_per_group
        fits = heads * head_dim_of(self.config) == candidate[HIDDEN]
        return fits and self.family.ties_head_dim(self.config)

    def _count_box(self, other_hidden: bool, other_groups: bool) -> "_Box":
        """Corners need not be candidates: the smallest widths that the architecture takes count fast."""
        dense, per_group = self.axes.dense, self.axes.heads_per_group
        groups = tuple(range(1, min(3, dense[GROUPS]))) if other_groups else (dense[GROUPS],)
        step = math.lcm(*(count * per_group for count in groups))
        sides: list[tuple[int, ...]] = []
        for axis, values in enumerate(self.axes.values):
            if axis == HIDDEN:
                sides.append((step, 2 * step) if other_hidden else (dense[HIDDEN],))
            elif axis == GROUPS:
                sides.append(groups)
            elif axis == LAYERS:
                sides.append((1, 2))
            else:
                sides.append(tuple(sorted({min(values), max(values)})))
        counted = {corner: self._count(corner) for corner in product(*sides)}
        return _Box(tuple(sides), counted)

    def _count(self, corner: Candidate) -> NDArray[np.float64]:
        if corner == self.axes.dense:
            return _vector(self.config, self.family)
        plan = make_plan(self.config, self.family, config_of(corner, self.axes.dense, self.base))
        plan = plan.keeping(tuple(range(corner[LAYERS])))
        return _vector(plan.narrow_config, plan.narrow_family)


@dataclass(frozen=True)
class _Box:
    sides: tuple[tuple[int, ...], ...]  # one or two values per axis
    counted: dict[Candidate, NDArray[np.float64]]

    def at(self, candidate: Candidate) -> NDArray[np.float64]:
        total = np.zeros_like(next(iter(self.counted.values())))
        for corner, counts in self.counted.items():
            weight = 1.0
            for value, here, side in zip(candidate, corner, self.sides, strict=True):
                if len(side) == 2:
                    there = side[1] if here == side[0] else side[0]
                    weight *= (value - there) / (here - there)
            total += weight * counts
        rounded: NDArray[np.float64] = np.rint(total)
        return rounded


def _vector(config: "PreTrainedConfig", family: Family) -> NDArray[np.float64]:
    """Parameters, of layers, cache, FLOPs; then each part's weights, those of a decode step, and FLOPs."""
    model = hollow_model(config)
    counts = sizes_of(model, config, family, torch.int8)  # one byte for each element
    head = f"{family.head}.weight"
    tied = bool(config.tie_word_embeddings)
    active = getattr(config, "num_experts_per_tok", None) or 1
    experts = max(widths_of(config, family).num_experts, 1)
    parts = {part: np.zeros(3) for part in PARTS}
    for name, parameter in model.named_parameters():
        part = "head" if name == head else part_of(name)
        if part == "embedding" and tied and name == f"{family.embedding}.weight":
            part = "head"  # each step reads all of it
        size, used = parameter.numel(), parameter.numel()
        if parameter.ndim == 3:  # a stack of experts, of which a token visits some
            used = size * active // experts
        is_table = part == "embedding"
        reads = size // parameter.shape[0] if is_table else used
        parts[part] += (size, reads, 0 if is_table or parameter.ndim < 2 else 2 * used)
    first = (
        counts.total_parameters,
        counts.layer_parameters,
        counts.kv_cache_bytes_per_token,
        counts.flops_per_token,
    )
    return np.concatenate([first, *parts.values()]).astype(np.float64)


def _sizes(vector: NDArray[np.float64]) -> CandidateSizes:
    values = [int(value) for value in vector]
    parts: dict[Part, PartCost] = {}
    for number, part in enumerate(PARTS):
        size, reads, flops = values[4 + 3 * number : 7 + 3 * number]
        parts[part] = PartCost(
            weight_bytes=size, loaded_bytes=size, decode_bytes=reads, flops_per_token=float(flops)
        )
    return CandidateSizes(
        parameters=values[0],
        layer_parameters=values[1],
        cache_elements_per_token=values[2],
        flops_per_token=values[3],
        parts=parts,
    )
