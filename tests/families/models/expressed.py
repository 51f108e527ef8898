"""A model as its config and its tensors, and the small changes that re-expressions are made of."""

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PretrainedConfig

__all__ = ["Expressed", "config_of", "scale", "scale_logits", "without_tied_head"]

SHARED = (
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "head_dim", "max_position_embeddings", "rope_parameters", "rms_norm_eps",
    "tie_word_embeddings", "initializer_range", "bos_token_id", "eos_token_id", "pad_token_id",
)  # fmt: skip


class Expressed(NamedTuple):
    """A config and every tensor of its model, by Hugging Face name; the tied head is left out."""

    config: "PretrainedConfig"
    state: "dict[str, Tensor]"


def config_of(name: str, llama: "PretrainedConfig", act: str | None = "hidden_act", **own: Any) -> Any:
    import transformers

    values = {key: getattr(llama, key) for key in SHARED}
    if act is not None:
        values[act] = llama.hidden_act
    return getattr(transformers, name)(**(values | own))


def without_tied_head(llama: Expressed) -> "dict[str, Tensor]":
    tied = llama.config.tie_word_embeddings
    return {name: value for name, value in llama.state.items() if not (tied and name == "lm_head.weight")}


def scale(state: "dict[str, Tensor]", factor: float, *endings: str) -> None:
    for name in state:
        if name.endswith(endings):
            state[name] = state[name] * factor


def scale_logits(llama: Expressed, state: "dict[str, Tensor]", factor: float) -> None:
    """Through the head, or, where the embedding is the head, through the gain before it."""
    scale(state, factor, "model.norm.weight" if llama.config.tie_word_embeddings else "lm_head.weight")
