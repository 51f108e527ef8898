"""The families, one row each."""

from dataclasses import replace
from typing import Any

from ...errors import ModelError
from .family import Family, Limit, Requirement, value_of
from .parts import (
    EXPERT_MLP,
    GATED_MLP,
    attention,
    fused_attention,
    gemma_with_post_norms,
    llama_like,
    mlp,
)

__all__ = ["FAMILIES", "family_of", "require"]

_ROWS = (
    llama_like("Llama", "llama", "LlamaForCausalLM", hidden_size_divisor="num_attention_heads"),
    llama_like("Mistral", "mistral", "MistralForCausalLM"),
    llama_like(
        "Qwen2, Qwen2.5",
        "qwen2",
        "Qwen2ForCausalLM",
        hidden_size_divisor="num_attention_heads",  # of the Llama that it becomes
        derives_head_dim=True,
        rewritten_as="llama",
        per_layer_keys=("layer_types",),
        requires=(
            Requirement(
                key="use_sliding_window",
                values=(False, None),
                reason="its layers have sliding windows",
            ),
        ),
    ),
    llama_like("Qwen3", "qwen3", "Qwen3ForCausalLM", per_layer_keys=("layer_types",)),
    llama_like(
        "Phi-3, Phi-3.5, Phi-4",
        "phi3",
        "Phi3ForCausalLM",
        sublayers=(
            fused_attention("qkv_proj", "o_proj", core="self_attn", norm="input_layernorm"),
            mlp("gate_up_proj", "gate_up_proj", "down_proj", activation="activation_fn"),
        ),
        derives_head_dim=("rope_parameters.rope_type", ("longrope",)),
    ),
    llama_like(
        "Granite",
        "granite",
        "GraniteForCausalLM",
        embedding_multiplier="embedding_multiplier",
        residual_multiplier="residual_multiplier",
        logits_divisor="logits_scaling",
    ),
    llama_like(
        "SmolLM3",
        "smollm3",
        "SmolLM3ForCausalLM",
        per_layer_keys=("no_rope_layers", "layer_types"),
    ),
    llama_like(
        "Gemma",
        "gemma",
        "GemmaForCausalLM",
        gain_offset=1.0,
        embedding_multiplier="sqrt_hidden",
        hidden_size_divisor=None,
    ),
    replace(gemma_with_post_norms("Gemma 2", "gemma2", "Gemma2ForCausalLM"), vllm_ties_head=True),
    gemma_with_post_norms("Gemma 3 (text)", "gemma3_text", "Gemma3ForCausalLM"),
    llama_like(
        "OLMo 2",
        "olmo2",
        "Olmo2ForCausalLM",
        sublayers=(
            attention(norm=None, post_norm="post_attention_layernorm"),
            replace(GATED_MLP, norm=None, post_norm="post_feedforward_layernorm"),
        ),
        rotates=False,
        limits=(
            Limit(
                axis="kv_groups",
                reason="OLMo 2 normalises the queries of all heads together, and the keys, so no head can go "
                "alone; narrow its MLP, its depth, or its hidden size with --method magnitude.",
            ),
        ),
    ),
    Family(
        name="OPT",
        model_type="opt",
        architecture="OPTForCausalLM",
        decoder="model.decoder",
        embedding="model.decoder.embed_tokens",
        position_embedding="model.decoder.embed_positions",
        position_offset=2,
        layers="model.decoder.layers",
        final_norm="model.decoder.final_layer_norm",
        head="lm_head",
        sublayers=(
            attention("out_proj", norm="self_attn_layer_norm"),
            mlp("fc1", None, "fc2", core="", norm="final_layer_norm", activation="activation_fn"),
        ),
        norm_kind="layer",
        epsilon=1e-5,
        stored_as_named=False,
        inner_key="ffn_dim",
        derives_head_dim=True,
        requires=(
            Requirement(
                key="do_layer_norm_before", values=(True,), reason="its norms stand behind the sublayers"
            ),
            Requirement(
                key="layer_norm_elementwise_affine",
                values=(True,),
                reason="its norms have no gains to fold into",
            ),
            Requirement(key="_remove_final_layer_norm", values=(False, None), reason="it has no final norm"),
        ),
    ),
    Family(
        name="GPT-2",
        model_type="gpt2",
        architecture="GPT2LMHeadModel",
        decoder="transformer",
        embedding="transformer.wte",
        position_embedding="transformer.wpe",
        layers="transformer.h",
        final_norm="transformer.ln_f",
        head="lm_head",
        sublayers=(
            fused_attention("c_attn", "c_proj", transposed=True, core="attn", norm="ln_1"),
            mlp("c_fc", None, "c_proj", transposed=True, norm="ln_2", activation="act"),
        ),
        norm_kind="layer",
        epsilon="layer_norm_epsilon",
        stored_as_named=False,
        inner_key="n_inner",
        derives_head_dim=True,
        requires=(
            Requirement(key="add_cross_attention", values=(False, None), reason="it attends to an encoder"),
        ),
        limits=(
            Limit(
                axis="layers",
                key="scale_attn_by_inverse_layer_idx",
                values=(True,),
                reason="this GPT-2 divides attention by the layer's number, so none can go; narrow its MLP.",
            ),
        ),
    ),
    llama_like(
        "StarCoder2",
        "starcoder2",
        "Starcoder2ForCausalLM",
        sublayers=(attention(), mlp("c_fc", None, "c_proj", activation="act")),
        norm_kind="layer",
        epsilon="norm_epsilon",
    ),
    Family(
        name="GPT-NeoX, Pythia",
        model_type="gpt_neox",
        architecture="GPTNeoXForCausalLM",
        decoder="gpt_neox",
        embedding="gpt_neox.embed_in",
        layers="gpt_neox.layers",
        final_norm="gpt_neox.final_layer_norm",
        head="lm_head",
        sublayers=(
            fused_attention(
                "query_key_value", "dense", by_head=True, core="attention", norm="input_layernorm"
            ),
            mlp("dense_h_to_4h", None, "dense_4h_to_h", activation="act"),
        ),
        norm_kind="layer",
        epsilon="layer_norm_eps",
        derives_head_dim=True,
        parallel=("use_parallel_residual", (True,)),
        stored_as_named=False,  # the head is embed_out in files
    ),
    llama_like(
        "Cohere, Command R",
        "cohere",
        "CohereForCausalLM",
        sublayers=(attention(), replace(GATED_MLP, norm="input_layernorm")),
        norm_kind="layer",
        epsilon="layer_norm_eps",
        parallel=True,
        limits=(
            Limit(
                axis="hidden",
                reason="Cohere's head is its embedding in every engine, and narrowing the hidden size unties "
                "them; narrow its MLP, its heads or its depth.",
            ),
            Limit(
                axis="kv_groups",
                key="use_qk_norm",
                values=(True,),
                reason="this Cohere has a norm of its own for every head; narrow its MLP or its depth.",
            ),
        ),
    ),
    llama_like(
        "Mixtral",
        "mixtral",
        "MixtralForCausalLM",
        sublayers=(attention(), EXPERT_MLP),
        stored_as_named=False,
        experts_key="num_local_experts",
    ),
    llama_like(
        "Qwen3-MoE",
        "qwen3_moe",
        "Qwen3MoeForCausalLM",
        sublayers=(attention(), EXPERT_MLP),
        stored_as_named=False,
        inner_key="moe_intermediate_size",
        experts_key="num_experts",
        requires=(
            Requirement(key="decoder_sparse_step", values=(1,), reason="some of its layers have no experts"),
            Requirement(
                key="mlp_only_layers", values=(None, [], ()), reason="some of its layers have no experts"
            ),
        ),
    ),
)

FAMILIES: dict[str, Family] = {family.model_type: family for family in _ROWS}


def family_of(model_type: str, architecture: str) -> Family:
    """The row of a model.

    Raises:
        ModelError: no row has this model type and architecture.
    """
    family = FAMILIES.get(model_type)
    if family is None or family.architecture != architecture:
        supported = ", ".join(f"{row.model_type} ({row.architecture})" for row in FAMILIES.values())
        raise ModelError(
            f"the model is a {architecture} of type {model_type!r}, which is not supported yet; "
            f"supported are {supported}."
        )
    return family


def require(config: Any, family: Family) -> None:
    """Check that a config is of a kind that its family's row describes.

    Raises:
        ModelError: it is not.
    """
    for requirement in family.requires:
        value = value_of(config, requirement.key)
        if value not in requirement.values:
            raise ModelError(
                f"this {family.name} has {requirement.key} {value!r}: {requirement.reason}, which cannot be "
                "narrowed."
            )
