"""Any family's sublayer as plain matrices: (out, in), gains and multipliers folded in; and back.

Reading gives views where nothing has to be computed. Fused tensors are sliced, transposed ones turned,
experts taken from their stack. Writing goes the same way back and rounds to the dtype that will be stored,
so that later fits see exactly what will be served.

Shapes: d hidden size; i inner size of a site (query, key or value rows, neurons, experts).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..maths.fold import absorb_gain
from ..record.report import Widths
from .family import Family, Site, Sublayer, value_of
from .shape import inner_size, widths_of

__all__ = ["Canonical", "Matrix", "canonical_layer", "tensor_names"]


class Matrix(NamedTuple):
    """A linear map on rows: x @ weight.T + bias."""

    weight: Tensor  # (out, in)
    bias: Tensor | None  # (out,)


@dataclass(frozen=True, kw_only=True)
class Canonical:
    """One sublayer of one decoder layer, dense or narrow."""

    sublayer: Sublayer
    layer: nn.Module
    widths: Widths
    gain_offset: float
    multiplier: float  # on what the branch adds

    @property
    def core(self) -> nn.Module:
        """The module that holds the sites."""
        return self.layer.get_submodule(self.sublayer.core)

    @cached_property
    def norm(self) -> nn.Module | None:
        """What the readers read through."""
        return self.layer.get_submodule(self.sublayer.norm) if self.sublayer.norm else None

    @cached_property
    def post_norm(self) -> nn.Module | None:
        """What the branch passes through before it is added."""
        return self.layer.get_submodule(self.sublayer.post_norm) if self.sublayer.post_norm else None

    @property
    def experts(self) -> range:
        """Numbers of the experts; one in a sublayer without."""
        return range(self.widths.num_experts if self.sublayer.experts else 1)

    def read(self, site: Site, expert: int = 0) -> Matrix:
        """A site as it is stored, without gains: views of the module, where its rows are in one piece."""
        weight, bias = self._stored(site, expert)
        rows = self._rows(site)
        return Matrix(weight[rows], None if bias is None else bias[rows])

    def write(self, site: Site, matrix: Matrix, stored_dtype: torch.dtype, expert: int = 0) -> None:
        """Set a site; a bias that the module has and the matrix lacks becomes zero."""
        weight, bias = self._stored(site, expert)
        rows, (new, new_bias) = self._rows(site), matrix
        if weight[rows].shape != new.shape:
            raise AssertionError(
                f"{site.path} holds {tuple(weight[rows].shape)}, the result is {tuple(new.shape)}"
            )
        weight[rows] = new.to(stored_dtype).to(weight)
        if bias is not None:
            bias[rows] = 0.0 if new_bias is None else new_bias.to(stored_dtype).to(bias)
        elif new_bias is not None:
            raise AssertionError(f"{site.path} has no bias, the result has one")

    def has_bias(self, site: Site) -> bool:
        """Whether a site can hold a constant."""
        return (
            site.parameter == "weight"
            and getattr(self.core.get_submodule(site.path), "bias", None) is not None
        )

    def reader(self, site: Site, expert: int = 0) -> Matrix:
        """(i, d) float64, of the gainless normalised stream: the norm's gain folded in, its shift not."""
        weight, bias = self.read(site, expert)
        gain = self.gain()
        folded = weight.double() if gain is None else absorb_gain(weight, gain)
        return Matrix(folded, None if bias is None else bias.double())

    def constant(self, site: Site, expert: int = 0) -> Tensor | None:
        """(i,) float64 what a reader makes of the norm's shift; None when the norm has none."""
        shift = self.shift()
        return None if shift is None else self.read(site, expert).weight.double() @ shift.double()

    def writer(self, expert: int = 0) -> Matrix:
        """(d, i) float64, to the stream: multiplier and gain of a post-norm folded in."""
        weight, bias = self.read(self.sublayer.writer, expert)
        scale = self.output_scale()
        bias = None if bias is None else bias.double() * scale
        return Matrix(weight.double() * (scale if scale.ndim == 0 else scale[:, None]), bias)

    def set_writer(self, matrix: Matrix, stored_dtype: torch.dtype, expert: int = 0) -> None:
        """Inverse of `writer`."""
        scale = self.output_scale()
        scale = torch.where(scale == 0, torch.ones_like(scale), scale)  # what it multiplies is lost anyway
        weight = matrix.weight.double() / (scale if scale.ndim == 0 else scale[:, None])
        bias = None if matrix.bias is None else matrix.bias.double() / scale
        self.write(self.sublayer.writer, Matrix(weight, bias), stored_dtype, expert)

    def gain(self) -> Tensor | None:
        """(d,) what the norm in front of the readers multiplies with."""
        return None if self.norm is None else gain_of(self.norm, self.gain_offset)

    def shift(self) -> Tensor | None:
        """(d,) what that norm adds."""
        return None if self.norm is None else getattr(self.norm, "bias", None)

    def output_scale(self) -> Tensor:
        """Float64 scalar, or (d,) behind a post-norm: what the writer's output is multiplied with."""
        scale = torch.tensor(self.multiplier, dtype=torch.float64)
        gain = None if self.post_norm is None else gain_of(self.post_norm, self.gain_offset)
        return scale if gain is None else gain.double() * scale.to(gain.device)

    def _stored(self, site: Site, expert: int) -> Matrix:
        """The whole tensor that a site is in, as (out, in), and its bias."""
        module = self.core.get_submodule(site.path)
        parameter = module.get_parameter(site.parameter)
        weight = parameter if parameter.requires_grad else parameter.data  # trained, or to be written
        weight = weight[expert] if weight.ndim == 3 else weight
        bias = getattr(module, "bias", None) if site.parameter == "weight" else None
        return Matrix(weight.T if site.transposed else weight, None if bias is None else bias.data)

    def _rows(self, site: Site) -> slice | Tensor:
        """Which rows of that tensor are the site's."""
        if site.part is None:
            return slice(None)
        sizes = [inner_size(inner, self.widths) for inner in site.part.of]
        if site.part.by_head:
            grid = torch.arange(sum(sizes)).view(-1, len(sizes), self.widths.head_dim)
            return grid[:, site.part.index].flatten()
        start = sum(sizes[: site.part.index])
        return slice(start, start + sizes[site.part.index])


def gain_of(norm: nn.Module, offset: float) -> Tensor | None:
    """(d,) what a norm multiplies with; None when it has no gain."""
    weight = getattr(norm, "weight", None)
    return None if weight is None else weight.double() + offset


def canonical_layer(layer: nn.Module, family: Family, config: Any) -> list[Canonical]:
    """The sublayers of a decoder layer, in the order in which they run."""
    multiplier = value_of(config, family.residual_multiplier) if family.residual_multiplier else 1.0
    widths = widths_of(config, family)
    return [
        Canonical(
            sublayer=sublayer,
            layer=layer,
            widths=widths,
            gain_offset=family.gain_offset,
            multiplier=float(multiplier),
        )
        for sublayer in family.sublayers
    ]


def tensor_names(family: Family) -> set[str]:
    """Every tensor of a decoder layer that narrowing sets, by its name in the layer, biases included."""
    names: set[str] = set()
    for sublayer in family.sublayers:
        for norm in filter(None, (sublayer.norm, sublayer.post_norm)):
            names |= {f"{norm}.weight", f"{norm}.bias"}
        for site in sublayer.sites:
            prefix = ".".join(filter(None, (sublayer.core, site.path)))
            names |= {f"{prefix}.{site.parameter}"} | (
                {f"{prefix}.bias"} if site.parameter == "weight" else set()
            )
    return names
