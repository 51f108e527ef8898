"""How each transformers class lies in a GGUF file: a row of data per class, and what cannot be written.

Only what transformers reads back as it was is here: every file is proven by it, and by llama.cpp where that
is installed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import ModelError

__all__ = ["FORMS", "GgufForm", "form_of"]

_LAYER = {
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
_QUERY_KEY_NORMS = {"self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm"}


@dataclass(frozen=True, kw_only=True)
class GgufForm:
    """One class."""

    name: str  # GGUF's architecture, in front of its keys
    layer: Mapping[str, str]  # modules of a decoder layer and what their tensors are called
    pairs: bool = False  # rotates neighbouring pairs of a head where transformers rotates halves
    biases: tuple[str, ...] = ()  # modules that have a bias
    head_dim: int | None = None  # the only one that transformers reads back


_LLAMA = GgufForm(name="llama", layer=_LAYER, pairs=True)
FORMS: dict[str, GgufForm] = {
    "LlamaForCausalLM": _LLAMA,
    "MistralForCausalLM": _LLAMA,
    "Qwen2ForCausalLM": GgufForm(
        name="qwen2", layer=_LAYER, biases=("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj")
    ),
    "Qwen3ForCausalLM": GgufForm(name="qwen3", layer=_LAYER | _QUERY_KEY_NORMS, head_dim=128),
}


def form_of(architecture: str, config: Mapping[str, Any]) -> GgufForm:
    """The form of a model.

    Args:
        architecture: transformers' class.
        config: config.json.

    Raises:
        ModelError: there is none for this class, or for a model of this class with such a config.
    """
    form = FORMS.get(architecture)
    if form is None:
        raise ModelError(f"{architecture} has no GGUF form here; what has one: {', '.join(FORMS)}")
    biased = [key for key in ("attention_bias", "mlp_bias") if config.get(key)]
    if biased and not form.biases:
        raise ModelError(
            f"config.json has {' and '.join(biased)}, and transformers drops biases when it reads GGUF's "
            f"{form.name} architecture back, so nothing could prove the file. A Qwen2 that keeps its hidden "
            "size and key-value groups stays a Qwen2, which has a form: narrow its MLP or its layers"
        )
    if form.head_dim is not None and config.get("head_dim") != form.head_dim:
        raise ModelError(
            f"head_dim is {config.get('head_dim')}, and transformers takes {form.head_dim} for every "
            f"{architecture} that it reads from GGUF, so nothing could prove the file"
        )
    if config.get("sliding_window"):
        raise ModelError(
            f"sliding_window is {config['sliding_window']}; the {form.name} architecture of GGUF attends to "
            "everything, so the text would differ beyond the window"
        )
    return form
