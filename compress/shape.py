"""The dimensions of a model, from its config: the one place that works out head_dim."""

from collections.abc import Mapping
from typing import Any

from .families import Family, Inner
from .report import Widths

__all__ = ["head_dim_of", "inner_size", "unit_size", "widths_of"]


def head_dim_of(config: Any) -> int:
    """Width of one head: what the config says, else hidden size over heads.

    Args:
        config: a Hugging Face config, or the dictionary in `config.json`.
    """

    def read(*names: str) -> Any:
        whole = config if isinstance(config, Mapping) else config.to_dict()
        return next((value for name in names if (value := whole.get(name)) is not None), None)

    return int(read("head_dim") or read("hidden_size", "n_embd") // read("num_attention_heads", "n_head"))


def widths_of(config: Any, family: Family) -> Widths:
    """The dimensions of a Hugging Face config."""
    heads = config.num_attention_heads
    inner = getattr(
        config, family.inner_key, None
    )  # GPT-2 leaves it out when it is four times the hidden size
    return Widths(
        hidden_size=config.hidden_size,
        intermediate_size=4 * config.hidden_size if inner is None else inner,
        num_hidden_layers=config.num_hidden_layers,
        num_attention_heads=heads,
        num_key_value_heads=getattr(config, "num_key_value_heads", None) or heads,
        head_dim=head_dim_of(config),
        vocab_size=config.vocab_size,
        num_experts=getattr(config, family.experts_key) if family.experts_key else 0,
    )


def unit_size(inner: Inner, widths: Widths) -> int:
    """Rows of one unit: a key-value group with its query heads, one neuron, or one expert."""
    if inner in ("key", "value"):
        return widths.head_dim
    if inner == "query":
        return widths.num_attention_heads // widths.num_key_value_heads * widths.head_dim
    return 1


def inner_size(inner: Inner, widths: Widths) -> int:
    """How many rows the inner dimension of a site has."""
    if inner == "neuron":
        return widths.intermediate_size
    if inner == "expert":
        return widths.num_experts
    return widths.num_key_value_heads * unit_size(inner, widths)
