"""Runs decoder layers sublayer by sublayer over streams of hidden states, with bounded memory.

Shapes: w windows of t tokens, d hidden size, i inner width of a sublayer (what its writer reads).
A stream is (w, t, d) float32 on the CPU; batches of it visit the device.
"""

import copy
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from .families import Family, Sublayer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["BATCH_TOKENS", "Branch", "batches", "branches_of", "call_arguments", "normalise", "unit_rows"]

BATCH_TOKENS = 2048


class Branch(NamedTuple):
    """One sublayer of one decoder layer, ready to run in float32: x <- x + branch(x)."""

    sublayer: Sublayer
    norm: nn.Module
    core: nn.Module
    arguments: dict[str, Any]  # what the core gets besides the hidden states: mask, rotary embedding

    def forward(self, x: Tensor) -> Tensor:
        """What the branch adds to x, (b, t, d)."""
        out = self.core(self.norm(x), **self.arguments)
        change: Tensor = out[0] if isinstance(out, tuple) else out
        return change

    def forward_with_inner(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What the branch adds to x, (b, t, d), and what its writer read, (b, t, i)."""
        inner = self.inner(x)
        return self.core.get_submodule(self.sublayer.writer)(inner), inner

    def inner(self, x: Tensor) -> Tensor:
        """What the writer reads, (b, t, i), without running the writer."""
        writer = self.core.get_submodule(self.sublayer.writer)
        self.core.set_submodule(self.sublayer.writer, nn.Identity())
        try:
            return self.forward(x)
        finally:
            self.core.set_submodule(self.sublayer.writer, writer)


def branches_of(layer: nn.Module, family: Family, arguments: list[dict[str, Any]]) -> list[Branch]:
    """The branches of a decoder layer, in the order in which they run."""
    return [
        Branch(sublayer, layer.get_submodule(sublayer.norm), layer.get_submodule(sublayer.core), given)
        for sublayer, given in zip(family.sublayers, arguments, strict=True)
    ]


def call_arguments(
    model: "PreTrainedModel", family: Family, tokens: int, device: torch.device
) -> list[list[dict[str, Any]]]:
    """What transformers hands to each sublayer of each layer for windows of `tokens` tokens.

    Mask and rotary embedding depend on the config and the number of tokens, not on any weight. So a
    model of the same class with the same heads and layers, but almost no width, is run once and
    watched; it costs nothing and follows transformers' own logic, sliding windows included.
    """
    config = copy.deepcopy(model.config)
    config.head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    config.hidden_size = config.num_attention_heads
    config.intermediate_size = config.vocab_size = 1
    config.pad_token_id = None
    config._attn_implementation = model.config._attn_implementation
    hollow: nn.Module = type(model)(config).eval()
    hollow = hollow.to(device=device, dtype=torch.float32)
    seen: list[list[dict[str, Any]]] = []
    hooks = []
    for layer in hollow.get_submodule(family.layers).children():
        seen.append([])
        for sublayer in family.sublayers:
            core = layer.get_submodule(sublayer.core)
            hooks.append(core.register_forward_pre_hook(_recorder(seen[-1]), with_kwargs=True))
    with torch.no_grad():
        hollow.get_submodule(family.decoder)(
            torch.zeros(1, tokens, dtype=torch.int64, device=device), use_cache=False
        )
    return seen


def _recorder(into: list[dict[str, Any]]) -> Any:
    def record(_module: nn.Module, _args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        into.append({name: value for name, value in kwargs.items() if name != "hidden_states"})

    return record


def batches(windows: int, tokens: int) -> Iterator[slice]:
    """Slices of windows that hold at most 2048 tokens, or one window."""
    step = max(1, BATCH_TOKENS // tokens)
    for start in range(0, windows, step):
        yield slice(start, min(start + step, windows))


def normalise(x: Tensor, epsilon: float) -> Tensor:
    """X / rms(x) over the last axis, as a gainless RMSNorm gives it."""
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + epsilon)


def unit_rows(x: Tensor, epsilon: float) -> Tensor:
    """Flatten (b, t, d) to rows (b t, d), each divided by its rms."""
    return normalise(x, epsilon).flatten(0, -2)
