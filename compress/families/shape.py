"""The dimensions of a model, from its config: the one place that works out what a config leaves out."""

from collections.abc import Mapping
from typing import Any

from ..record.report import Widths
from .family import Family, Inner

__all__ = ["head_dim_of", "inner_size", "known_widths", "standard_names", "unit_size", "widths_of"]

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


def known_widths(config: Any, family: Family | None = None) -> dict[str, int]:
    """What a config says of its dimensions, under their names in `Widths`, and what follows from them.

    Args:
        config: a Hugging Face config, or the dictionary in `config.json`.
        family: when known: experts are counted, and the MLP's width is the one that is narrowed.
    """
    whole = standard_names(config if isinstance(config, Mapping) else config.to_dict())

    def value(name: str) -> Any:
        found = getattr(config, name, None)  # also under a name that the class only knows as an alias
        return whole.get(name) if found is None else found

    heads, hidden = value("num_attention_heads"), value("hidden_size")
    found = {name: value(name) for name in Widths.__dataclass_fields__ if name != "num_experts"}
    found["num_key_value_heads"] = found["num_key_value_heads"] or heads
    found["head_dim"] = found["head_dim"] or (hidden // heads if heads and hidden else None)
    if family is not None:
        found["intermediate_size"] = value(family.inner_key) or found["intermediate_size"]
        found["num_experts"] = value(family.experts_key) if family.experts_key else 0
    return {name: int(width) for name, width in found.items() if width is not None}


def widths_of(config: Any, family: Family | None = None) -> Widths:
    """The dimensions of a config that states or implies all of them; see `known_widths`."""
    return Widths(**{"intermediate_size": 0, **known_widths(config, family)})


def head_dim_of(config: Any) -> int:
    """Width of one head: what the config says, else hidden size over heads."""
    return known_widths(config)["head_dim"]


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
