"""What transformers hands to each attention besides the hidden states."""

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from .family import Family
from .shape import head_dim_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["call_arguments"]


def call_arguments(
    model: "PreTrainedModel", family: Family, tokens: int, device: torch.device
) -> list[list[dict[str, Any]]]:
    """For each layer, the arguments of its attention, then of its MLP (none), for windows of `tokens` tokens.

    Mask and rotary embedding depend on the config and the number of tokens, not on any weight. So a
    model of the same class with the same heads and layers, but almost no width, is run once and
    watched; it costs nothing and follows transformers' own logic, sliding windows included.
    """
    config = copy.deepcopy(model.config)
    config.head_dim = head_dim_of(config)
    config.hidden_size = config.num_attention_heads
    config.vocab_size = 1
    setattr(config, family.inner_key, 1)
    if hasattr(config, "word_embed_proj_dim"):  # OPT's second name for the hidden size
        config.word_embed_proj_dim = config.hidden_size
    config.pad_token_id = None
    config._attn_implementation = model.config._attn_implementation
    hollow: nn.Module = type(model)(config).eval()
    hollow = hollow.to(device=device, dtype=torch.float32)
    seen: list[dict[str, Any]] = []
    for layer in hollow.get_submodule(family.layers).children():
        if family.mlp.experts:  # their kernels want more width
            layer.set_submodule(family.mlp.core, nn.Identity())
        layer.get_submodule(family.attention.core).register_forward_pre_hook(
            _recorder(seen), with_kwargs=True
        )
    with torch.no_grad():
        hollow.get_submodule(family.decoder)(
            torch.zeros(1, tokens, dtype=torch.int64, device=device), use_cache=False
        )
    return [[arguments, {}] for arguments in seen]


def _recorder(into: list[dict[str, Any]]) -> Any:
    def record(_module: nn.Module, _args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        into.append({name: value for name, value in kwargs.items() if name != "hidden_states"})

    return record
