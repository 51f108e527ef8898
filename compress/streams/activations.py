"""Runs decoder layers sublayer by sublayer over streams of hidden states, with bounded memory.

Shapes: w windows of t tokens, d hidden size, i inner width of a sublayer (what its writer reads).
A stream is (w, t, d) float32 on the CPU; batches of it visit the device.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from ..families.canonical import Canonical, canonical_layer
from ..families.family import Family, Sublayer

__all__ = ["BATCH_TOKENS", "Branch", "Inner", "Routed", "batches", "branches_of", "normalise"]

BATCH_TOKENS = 2048


class Routed(NamedTuple):
    """The tokens of a batch that one expert sees."""

    expert: int
    rows: Tensor | None  # (n,) indices into the flattened batch; None: all of them
    share: Tensor | None  # (n, 1) what the expert's output is multiplied with; None: one

    def of(self, batch: Tensor) -> Tensor:
        """Its rows of (b t, ...)."""
        return batch if self.rows is None else batch[self.rows]


class Inner(NamedTuple):
    """What one writer reads."""

    routed: Routed
    value: Tensor  # (n, i)


@dataclass(frozen=True, kw_only=True)
class Branch:
    """One sublayer of one decoder layer, ready to run in float32: x <- x + branch(x)."""

    sites: Canonical
    arguments: dict[str, Any]  # what an attention gets besides the hidden states: mask, rotary embedding

    @property
    def sublayer(self) -> Sublayer:
        """Its row."""
        return self.sites.sublayer

    @property
    def core(self) -> nn.Module:
        """The module that holds the matrices."""
        return self.sites.core

    @cached_property
    def activation(self) -> nn.Module:
        """An MLP's function."""
        return self.core.get_submodule(str(self.sublayer.activation))

    def forward(self, x: Tensor) -> Tensor:
        """What the branch adds to x, (b, t, d)."""
        if self.sublayer.is_mlp:
            return self.output(self.inner(x), x)
        out = self.core(self.normed(x), **self.arguments)
        return self._finished(out[0] if isinstance(out, tuple) else out)

    def normed(self, x: Tensor) -> Tensor:
        """What the readers see, (b, t, d)."""
        norm = self.sites.norm
        z: Tensor = x if norm is None else norm(x)
        return z

    def inner(self, x: Tensor) -> list[Inner]:
        """What the writers read, without running them; one entry for each expert that is used."""
        z = self.normed(x)
        if not self.sublayer.is_mlp:
            return [Inner(Routed(0, None, None), self._attended(z).flatten(0, -2))]
        z = z.flatten(0, -2)
        return [Inner(routed, self.neurons(routed.of(z), routed.expert)) for routed in self.routes(z)]

    def routes(self, z: Tensor) -> list[Routed]:
        """Which expert sees which of the rows z (b t, d)."""
        router = self.sublayer.site("router")
        if router is None:
            return [Routed(0, None, None)]
        _, share, chosen = self.core.get_submodule(router.path)(z)  # (b t, top), (b t, top)
        found = []
        for expert in self.sites.experts:
            rows, places = (chosen == expert).nonzero(as_tuple=True)
            if len(rows):
                found.append(Routed(expert, rows, share[rows, places, None]))
        return found

    def neurons(self, z: Tensor, expert: int) -> Tensor:
        """Inner activations (n, i) of one MLP for normalised rows z (n, d)."""
        gate, up = self.before_activation(z, expert)
        activated: Tensor = self.activation(gate)
        return activated if up is None else activated * up

    def before_activation(self, z: Tensor, expert: int) -> tuple[Tensor, Tensor | None]:
        """What gate and up give, (n, i) each; without an up, None."""
        gate, up = (
            None if site is None else functional.linear(z, *self.sites.read(site, expert))
            for site in (self.sublayer.site("gate"), self.sublayer.site("up"))
        )
        assert gate is not None
        return gate, up

    def output(self, inner: list[Inner], x: Tensor) -> Tensor:
        """What the branch adds to x (b, t, d), from what its writers read."""
        return self._finished(self.written(inner, x))

    def written(self, inner: list[Inner], x: Tensor) -> Tensor:
        """What the writers give, (b, t, d), before post-norm and multiplier."""
        width = self.sites.read(self.sublayer.writer).weight.shape[0]
        total = None
        for routed, value in inner:
            out = functional.linear(value, *self.sites.read(self.sublayer.writer, routed.expert))
            if routed.rows is None or routed.share is None:
                return out.reshape(*x.shape[:-1], width)
            if total is None:
                total = out.new_zeros(x.shape[:-1].numel(), width)
            total.index_add_(0, routed.rows, out * routed.share)
        assert total is not None
        return total.reshape(*x.shape[:-1], width)

    def _attended(self, z: Tensor) -> Tensor:
        """What an attention's writer reads, (b, t, i)."""
        core, path = self.core, self.sublayer.writer.path
        writer = core.get_submodule(path)
        core.set_submodule(path, nn.Identity())
        try:
            out = core(z, **self.arguments)
        finally:
            core.set_submodule(path, writer)
        inner: Tensor = out[0] if isinstance(out, tuple) else out
        return inner

    def _finished(self, out: Tensor) -> Tensor:
        post = self.sites.post_norm
        if post is not None:
            out = post(out)
        return out if self.sites.multiplier == 1.0 else out * self.sites.multiplier


def branches_of(
    layer: nn.Module, family: Family, config: Any, arguments: list[dict[str, Any]]
) -> list[Branch]:
    """The branches of a decoder layer, in the order in which they run.

    Args:
        layer: in float32.
        family: of the layer.
        config: of the model that the layer belongs to, or will belong to.
        arguments: for each branch, of `call_arguments`.
    """
    return [
        Branch(sites=sites, arguments=given)
        for sites, given in zip(canonical_layer(layer, family, config), arguments, strict=True)
    ]


def batches(windows: int, tokens: int) -> Iterator[slice]:
    """Slices of windows that hold at most 2048 tokens, or one window."""
    step = max(1, BATCH_TOKENS // tokens)
    for start in range(0, windows, step):
        yield slice(start, min(start + step, windows))


def normalise(x: Tensor, epsilon: float, kind: str = "rms") -> Tensor:
    """X / rms(x) over the last axis as a gainless norm gives it; a LayerNorm takes the mean away first."""
    if kind == "layer":
        x = x - x.mean(-1, keepdim=True)
    return x * (x.square().mean(-1, keepdim=True) + epsilon).rsqrt()
