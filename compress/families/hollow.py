"""Models without values: what a config describes, at no cost in memory."""

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

__all__ = ["attention_for", "hollow_model"]


def hollow_model(
    config: "PreTrainedConfig",
    *,
    dtype: torch.dtype | str | None = None,
    runs: bool = False,
    buffers: bool = False,
) -> "PreTrainedModel":
    """The stock model that a config describes, on the meta device: shapes without values.

    Args:
        config: of the model.
        dtype: of its parameters; the config's by default.
        runs: whether it will be given values and run, with the attention of `attention_for`.
        buffers: give buffers, which no checkpoint holds, their values, on the CPU.
    """
    from accelerate import init_empty_weights
    from transformers import AutoModelForCausalLM

    given: dict[str, Any] = attention_for(config) if runs else {}
    if dtype is not None:
        given["dtype"] = dtype
    with init_empty_weights(include_buffers=not buffers):
        model: PreTrainedModel = AutoModelForCausalLM.from_config(config, **given)
    return model


def attention_for(config: "PreTrainedConfig") -> dict[str, Any]:
    """How transformers has to compute attention, for `from_pretrained`.

    Its default takes no notice of a soft cap on attention scores (Gemma 2), which engines apply.
    """
    return {"attn_implementation": "eager"} if getattr(config, "attn_logit_softcapping", None) else {}
