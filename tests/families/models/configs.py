"""Pico configs of every family: the shape of tests/picos.py, in each family's own words.

Families whose attention takes head_dim from the config have 64 = hidden != heads * head_dim = 128. OPT, GPT-2
and GPT-NeoX compute head_dim as hidden / heads and are 128 wide: vLLM on a CPU has no heads of 16.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tests.picos import SHAPE

if TYPE_CHECKING:
    from transformers import PretrainedConfig

__all__ = ["CONFIGS", "pico_config"]

_TOKENS = {name: SHAPE[name] for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
_SQUARE = {name: value for name, value in SHAPE.items() if name not in ("head_dim", "num_key_value_heads")}
_SQUARE["hidden_size"] = SHAPE["num_attention_heads"] * SHAPE["head_dim"]
_SHORT_WINDOW: dict[str, Any] = {  # windows of the tests are longer, so the mask shows
    "sliding_window": 24,
    "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
}


def _gemma2() -> "PretrainedConfig":
    from transformers import Gemma2Config

    return Gemma2Config(**SHAPE, **_SHORT_WINDOW, query_pre_attn_scalar=24, attn_logit_softcapping=5.0)


def _gemma3() -> "PretrainedConfig":
    from transformers import Gemma3TextConfig

    return Gemma3TextConfig(**SHAPE, **_SHORT_WINDOW, query_pre_attn_scalar=24)


def _granite() -> "PretrainedConfig":
    from transformers import GraniteConfig

    multipliers: dict[str, Any] = {
        "embedding_multiplier": 6.0,
        "residual_multiplier": 0.4,
        "logits_scaling": 3.0,
    }
    return GraniteConfig(**SHAPE, **multipliers, attention_multiplier=0.1, attention_bias=True, mlp_bias=True)


def _opt() -> "PretrainedConfig":
    from transformers import OPTConfig

    names = {"intermediate_size": "ffn_dim", "initializer_range": "init_std"}
    shape = {names.get(name, name): value for name, value in _SQUARE.items()}
    return OPTConfig(**shape, word_embed_proj_dim=shape["hidden_size"])


def _gpt2() -> "PretrainedConfig":
    from transformers import GPT2Config

    return GPT2Config(
        vocab_size=SHAPE["vocab_size"], n_positions=SHAPE["max_position_embeddings"],
        n_embd=_SQUARE["hidden_size"], n_inner=SHAPE["intermediate_size"], n_layer=SHAPE["num_hidden_layers"],
        n_head=SHAPE["num_attention_heads"], initializer_range=SHAPE["initializer_range"], **_TOKENS,
    )  # fmt: skip


def _qwen3_moe() -> "PretrainedConfig":
    from transformers import Qwen3MoeConfig

    experts: dict[str, Any] = {
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 96,
        "norm_topk_prob": True,
    }
    return Qwen3MoeConfig(**SHAPE, **experts)


def _of(name: str, shape: dict[str, Any] = SHAPE, **own: Any) -> Callable[[], "PretrainedConfig"]:
    def make() -> "PretrainedConfig":
        import transformers

        config: PretrainedConfig = getattr(transformers, name)(**shape, **own)
        return config

    return make


CONFIGS: dict[str, Callable[[], "PretrainedConfig"]] = {
    "llama": _of("LlamaConfig", attention_bias=True, mlp_bias=True),
    "mistral": _of("MistralConfig", sliding_window=24),
    # room for the <|endoftext|> that transformers adds to every tokenizer of a Qwen2
    "qwen2": _of("Qwen2Config", SHAPE | {"vocab_size": SHAPE["vocab_size"] + 8}, tie_word_embeddings=True),
    "qwen3": _of("Qwen3Config"),
    "gemma": _of("GemmaConfig"),
    "gemma2": _gemma2,
    "gemma3_text": _gemma3,
    "phi3": _of("Phi3Config", original_max_position_embeddings=SHAPE["max_position_embeddings"]),
    "granite": _granite,
    "olmo2": _of("Olmo2Config"),
    "opt": _opt,
    "gpt2": _gpt2,
    "mixtral": _of("MixtralConfig", num_local_experts=4, num_experts_per_tok=2),
    "qwen3_moe": _qwen3_moe,
    "smollm3": _of("SmolLM3Config", no_rope_layers=[1, 0, 1]),
    "starcoder2": _of("Starcoder2Config"),
    "gpt_neox": _of("GPTNeoXConfig", _SQUARE),
    "cohere": _of("CohereConfig", logit_scale=0.5),
}


def pico_config(family: str) -> "PretrainedConfig":
    """A fresh pico config of a family, by its model type."""
    config = CONFIGS[family]()
    assert config.model_type == family
    return config
