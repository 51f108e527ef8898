"""The dimensions of a model, from its config: the one place that works out head_dim."""

from collections.abc import Mapping
from typing import Any

from .families import Family, Inner
from .report import Widths

__all__ = ["head_dim_of", "inner_size", "standard_names", "unit_size", "widths_of"]

# What GPT-2 and OPT call a width in config.json, and everybody else.
_OTHER_NAMES = {
    "n_embd": "hidden_size",
    "n_inner": "intermediate_size",
    "ffn_dim": "intermediate_size",
    "n_layer": "num_hidden_layers",
    "n_head": "num_attention_heads",
    "n_positions": "max_position_embeddings",
}


def standard_names(config: Mapping[str, Any]) -> dict[str, Any]:
    """The content of config.json with every width under its usual name as well."""
    content = dict(config)
    for other, usual in _OTHER_NAMES.items():
        if content.get(usual) is None and content.get(other) is not None:
            content[usual] = content[other]
    if isinstance(content.get("n_embd"), int) and content.get("intermediate_size") is None:
        content["intermediate_size"] = 4 * content["n_embd"]  # what GPT-2 means by leaving it out
    return content


def head_dim_of(config: Any) -> int:
    """Width of one head: what the config says, else hidden size over heads.

    Args:
        config: a Hugging Face config, or the dictionary in `config.json`.
    """
    whole = standard_names(config if isinstance(config, Mapping) else config.to_dict())
    return int(whole.get("head_dim") or whole["hidden_size"] // whole["num_attention_heads"])


def widths_of(config: Any, family: Family) -> Widths:
    """The dimensions of a Hugging Face config."""
    heads = config.num_attention_heads
    inner = getattr(config, family.inner_key, None)  # None in a GPT-2: four times the hidden size
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
