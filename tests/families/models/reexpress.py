"""The same function as another family: a Llama's config and tensors -> another family's config and tensors.

Every function here is exact in real numbers (Qwen3, Gemma 2 and 3: to 1e-10, see `_linear_norm`), so whatever
is done to the copy can be compared with the same done to the Llama itself. Exact forms do not exist for
OLMo 2, whose sublayers read the raw stream and therefore notice its length, which a Llama's never do; nor
for OPT, GPT-2, Starcoder2 and GPT-NeoX, whose MLP has no product of two readers.

Shapes: d hidden size, m MLP width, h heads of e values. Linear weights are (out, in).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .expressed import Expressed, config_of, scale, scale_logits, without_tied_head
from .reexpress_cohere import as_cohere

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PretrainedConfig

__all__ = ["EXPRESSIONS", "qwen2_as_llama"]

STREAM = 2.0**8  # exact in every float, so that rounding errors stay the Llama's own
SMALL = 2.0**-30
EXPERTS = 4


def as_llama(llama: Expressed) -> Expressed:
    return Expressed(llama.config, without_tied_head(llama))


def as_mistral(llama: Expressed) -> Expressed:
    return Expressed(config_of("MistralConfig", llama.config, sliding_window=None), without_tied_head(llama))


def as_smollm3(llama: Expressed) -> Expressed:
    everywhere = [1] * llama.config.num_hidden_layers
    config = config_of("SmolLM3Config", llama.config, no_rope_layers=everywhere, use_sliding_window=False)
    return Expressed(config, without_tied_head(llama))


def as_qwen2(llama: Expressed) -> Expressed:
    """The biases of q, k and v are zero."""
    state = without_tied_head(llama)
    for name in list(state):
        if name.endswith(("q_proj.weight", "k_proj.weight", "v_proj.weight")):
            state[name.replace("weight", "bias")] = state[name].new_zeros(len(state[name]))
    return Expressed(config_of("Qwen2Config", llama.config), state)


def qwen2_as_llama(qwen2: Expressed) -> Expressed:
    """The other way round: a Llama with biases, o_proj's being zero."""
    state = without_tied_head(qwen2)
    for name in list(state):
        if name.endswith("o_proj.weight"):
            state[name.replace("weight", "bias")] = state[name].new_zeros(len(state[name]))
    return Expressed(config_of("LlamaConfig", qwen2.config, attention_bias=True), state)


def as_phi3(llama: Expressed) -> Expressed:
    """Q, k, v and gate, up are rows of one matrix each."""
    import torch

    state = without_tied_head(llama)
    for i in range(llama.config.num_hidden_layers):
        for core, names, fused in (
            ("self_attn", ("q_proj", "k_proj", "v_proj"), "qkv_proj"),
            ("mlp", ("gate_proj", "up_proj"), "gate_up_proj"),
        ):
            where = f"model.layers.{i}.{core}"
            parts = [state.pop(f"{where}.{name}.weight") for name in names]
            state[f"{where}.{fused}.weight"] = torch.cat(parts)
    positions = llama.config.max_position_embeddings
    return Expressed(config_of("Phi3Config", llama.config, original_max_position_embeddings=positions), state)


def as_granite(llama: Expressed) -> Expressed:
    """Four multipliers, and weights that undo them."""
    state = without_tied_head(llama)
    embedding, residual, attention, logits = 12.0, 0.22, 0.5, 8.0
    scale(state, 1 / embedding, "embed_tokens.weight")
    scale(state, 1 / residual, "o_proj.weight", "down_proj.weight")
    scale(state, llama.config.head_dim**-0.5 / attention, "q_proj.weight")
    scale_logits(llama, state, logits * (embedding if llama.config.tie_word_embeddings else 1))
    config = config_of(
        "GraniteConfig", llama.config, embedding_multiplier=embedding, residual_multiplier=residual,
        attention_multiplier=attention, logits_scaling=logits,
    )  # fmt: skip
    return Expressed(config, state)


def as_gemma(llama: Expressed) -> Expressed:
    """Embeddings are multiplied by sqrt(d), gains are stored as g - 1."""
    state = without_tied_head(llama)
    _divide_embedding_by(llama, state, llama.config.hidden_size**0.5)
    _subtract_one_from_gains(state)
    return Expressed(config_of("GemmaConfig", llama.config), state)


def _divide_embedding_by(llama: Expressed, state: "dict[str, Tensor]", factor: float) -> None:
    scale(state, 1 / factor, "embed_tokens.weight")
    if llama.config.tie_word_embeddings:
        scale_logits(llama, state, factor)


def _subtract_one_from_gains(state: "dict[str, Tensor]") -> None:
    for name in state:
        if name.endswith("norm.weight"):
            state[name] = (state[name].double() - 1).to(state[name].dtype)


def _longer_stream(llama: Expressed, state: "dict[str, Tensor]") -> float:
    """Make the stream STREAM times longer. Returns the epsilon with which its norms give what they gave."""
    scale(state, STREAM, "embed_tokens.weight", "o_proj.weight", "down_proj.weight")
    if llama.config.tie_word_embeddings:
        scale_logits(llama, state, 1 / STREAM)
    epsilon: float = llama.config.rms_norm_eps * STREAM**2
    return epsilon


def _linear_norm(like: "Tensor", width: int, epsilon: float) -> "Tensor":
    """The gain with which an RMSNorm of SMALL u gives u: epsilon outweighs mean(SMALL^2 u^2) by far.

    The relative error is SMALL^2 mean(u^2) / (2 epsilon), below 1e-12 mean(u^2); float32 has 6e-8.
    """
    return like.new_full((width,), epsilon**0.5 / SMALL)


def _add_query_and_key_norms(state: "dict[str, Tensor]", config: "PretrainedConfig", epsilon: float) -> None:
    for i in range(config.num_hidden_layers):
        for part in ("q", "k"):
            where = f"model.layers.{i}.self_attn.{part}"
            weight = state[f"{where}_proj.weight"]
            state[f"{where}_proj.weight"] = weight * SMALL
            state[f"{where}_norm.weight"] = _linear_norm(weight, config.head_dim, epsilon)


def as_qwen3(llama: Expressed) -> Expressed:
    """Norms of queries and keys that share rms_norm_eps with the stream's, and are linear to rounding."""
    state = without_tied_head(llama)
    epsilon = _longer_stream(llama, state)
    _add_query_and_key_norms(state, llama.config, epsilon)
    return Expressed(config_of("Qwen3Config", llama.config, rms_norm_eps=epsilon), state)


def _add_post_norms(state: "dict[str, Tensor]", config: "PretrainedConfig", epsilon: float) -> None:
    """Gemma's four norms a layer; what a Llama calls post_attention stands before the MLP."""
    for i in range(config.num_hidden_layers):
        layer = f"model.layers.{i}"
        before = state.pop(f"{layer}.post_attention_layernorm.weight")
        state[f"{layer}.pre_feedforward_layernorm.weight"] = before
        for norm in ("post_attention_layernorm", "post_feedforward_layernorm"):
            state[f"{layer}.{norm}.weight"] = _linear_norm(before, config.hidden_size, epsilon)
    scale(state, SMALL, "o_proj.weight", "down_proj.weight")


def _as_gemma_with_post_norms(llama: Expressed, name: str, **own: Any) -> Expressed:
    state = without_tied_head(llama)
    epsilon = _longer_stream(llama, state)
    _add_post_norms(state, llama.config, epsilon)
    if name == "Gemma3TextConfig":
        _add_query_and_key_norms(state, llama.config, epsilon)
    _divide_embedding_by(llama, state, llama.config.hidden_size**0.5)
    _subtract_one_from_gains(state)
    full = ["full_attention"] * llama.config.num_hidden_layers
    config = config_of(
        name, llama.config, "hidden_activation", rms_norm_eps=epsilon, layer_types=full,
        query_pre_attn_scalar=llama.config.head_dim, attn_logit_softcapping=None,
        final_logit_softcapping=None, **own,
    )  # fmt: skip
    return Expressed(config, state)


def as_gemma2(llama: Expressed) -> Expressed:
    """As Gemma, with norms after the sublayers that are linear to rounding."""
    return _as_gemma_with_post_norms(llama, "Gemma2Config")


def as_gemma3(llama: Expressed) -> Expressed:
    """As Gemma 2, with norms of queries and keys."""
    rope = {kind: llama.config.rope_parameters for kind in ("full_attention", "sliding_attention")}
    return _as_gemma_with_post_norms(llama, "Gemma3TextConfig", rope_parameters=rope)


def _mix_experts(llama: Expressed, state: "dict[str, Tensor]") -> None:
    """Experts that compute the same with their neurons in different order, so any mixture is the MLP."""
    import torch

    generator = torch.Generator().manual_seed(0)
    for i in range(llama.config.num_hidden_layers):
        where = f"model.layers.{i}.mlp"
        gate, up, down = (state.pop(f"{where}.{name}_proj.weight") for name in ("gate", "up", "down"))
        orders = [torch.randperm(len(gate), generator=generator) for _ in range(EXPERTS)]
        state[f"{where}.experts.gate_up_proj"] = torch.stack([torch.cat((gate[o], up[o])) for o in orders])
        state[f"{where}.experts.down_proj"] = torch.stack([down[:, o] for o in orders])
        router = torch.randn(EXPERTS, gate.shape[1], generator=generator) * gate.shape[1] ** -0.5
        state[f"{where}.gate.weight"] = router.to(gate.dtype)


def as_mixtral(llama: Expressed) -> Expressed:
    """Four experts of which two serve a token, with weights that sum to one."""
    state = without_tied_head(llama)
    _mix_experts(llama, state)
    config = config_of("MixtralConfig", llama.config, num_local_experts=EXPERTS, num_experts_per_tok=2)
    return Expressed(config, state)


def as_qwen3_moe(llama: Expressed) -> Expressed:
    """Experts as for Mixtral, norms of queries and keys as for Qwen3."""
    state = without_tied_head(llama)
    epsilon = _longer_stream(llama, state)
    _add_query_and_key_norms(state, llama.config, epsilon)
    _mix_experts(llama, state)
    config = config_of(
        "Qwen3MoeConfig", llama.config, rms_norm_eps=epsilon, num_experts=EXPERTS, num_experts_per_tok=2,
        norm_topk_prob=True, moe_intermediate_size=llama.config.intermediate_size,
    )  # fmt: skip
    return Expressed(config, state)


EXPRESSIONS: dict[str, Callable[[Expressed], Expressed]] = {
    "llama": as_llama,
    "mistral": as_mistral,
    "smollm3": as_smollm3,
    "qwen2": as_qwen2,
    "phi3": as_phi3,
    "granite": as_granite,
    "gemma": as_gemma,
    "qwen3": as_qwen3,
    "gemma2": as_gemma2,
    "gemma3_text": as_gemma3,
    "mixtral": as_mixtral,
    "qwen3_moe": as_qwen3_moe,
    "cohere": as_cohere,  # of a Llama with tied embeddings
}
