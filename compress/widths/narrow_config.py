"""The stock config of the narrow model."""

import copy
from typing import TYPE_CHECKING, Any

from ..families.family import Family
from ..record.report import Widths

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

__all__ = ["keep_layers", "narrow_config"]

# What a config of another class takes over under the same name.
_SHARED_KEYS = (
    "vocab_size",
    "hidden_act",
    "max_position_embeddings",
    "initializer_range",
    "rms_norm_eps",
    "use_cache",
    "tie_word_embeddings",
    "rope_parameters",
    "attention_dropout",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "dtype",
)


def narrow_config(
    dense_config: "PreTrainedConfig",
    family: Family,
    narrow_family: Family,
    narrow: Widths,
    *,
    changes_basis: bool,
) -> "PreTrainedConfig":
    """The dense config with the narrow widths; multipliers that get folded into weights are one.

    Norms keep their epsilon: the narrow stream is scaled instead (`fold.stream_scale`).
    """
    config: Any = copy.deepcopy(dense_config)
    if narrow_family is not family:
        config = _other_class(dense_config, narrow_family, narrow)
    config.architectures = [narrow_family.architecture]
    setattr(config, narrow_family.inner_key, narrow.intermediate_size)
    config.head_dim = narrow.head_dim
    config.num_attention_heads = narrow.num_attention_heads
    config.num_key_value_heads = narrow.num_key_value_heads
    config.num_hidden_layers = narrow.num_hidden_layers
    if narrow_family.experts_key is not None:
        setattr(config, narrow_family.experts_key, narrow.num_experts)
    if changes_basis:
        config.hidden_size = narrow.hidden_size
        config.tie_word_embeddings = False  # the head reads through the readout, the embedding does not
        if hasattr(config, "word_embed_proj_dim"):  # OPT's second name for the hidden size
            config.word_embed_proj_dim = narrow.hidden_size
        for key in (family.embedding_multiplier, family.residual_multiplier, family.logits_divisor):
            if key is not None and key != "sqrt_hidden":
                setattr(config, key, 1.0)
    return config  # type: ignore[no-any-return]


def _other_class(
    dense_config: "PreTrainedConfig", narrow_family: Family, narrow: Widths
) -> "PreTrainedConfig":
    """A config of the class that the result is written as, with biases on everything in an attention."""
    from transformers import AutoConfig

    values = {
        key: copy.deepcopy(getattr(dense_config, key)) for key in _SHARED_KEYS if hasattr(dense_config, key)
    }
    config: PreTrainedConfig = AutoConfig.for_model(
        narrow_family.model_type,
        **values,
        hidden_size=narrow.hidden_size,
        num_attention_heads=narrow.num_attention_heads,
        num_key_value_heads=narrow.num_key_value_heads,
        head_dim=narrow.head_dim,
        attention_bias=True,
    )
    config._attn_implementation = dense_config._attn_implementation
    return config


def keep_layers(config: "PreTrainedConfig", family: Family, layers: tuple[int, ...]) -> None:
    """Cut every list that has an entry for each layer, in place."""
    for key in family.per_layer_keys:
        entries = getattr(config, key, None)
        if entries:
            setattr(config, key, [entries[index] for index in layers])
