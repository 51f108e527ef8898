"""Model families as rows of data: which tensors read the residual stream, and which write to it.

A new family that is a sequential pre-norm decoder with RMSNorm is a new row here and nothing else.
"""

from dataclasses import dataclass

from ..errors import ModelError

__all__ = ["FAMILIES", "Family", "Sublayer", "family_of"]


@dataclass(frozen=True, kw_only=True)
class Sublayer:
    """One residual branch of a decoder layer: x <- x + writer(inner(readers(norm(x))))."""

    norm: str  # attribute of the decoder layer
    core: str  # attribute of the decoder layer; the module that holds readers and writer
    readers: tuple[str, ...]  # attributes of core
    writer: str  # attribute of core
    gate: str | None = None  # reader that passes through the activation function (gated MLP only)
    up: str | None = None  # the reader it is multiplied with
    activation: str | None = None  # attribute of core: the function itself

    @property
    def is_mlp(self) -> bool:
        """Whether the inner width is `intermediate_size`."""
        return self.gate is not None


@dataclass(frozen=True, kw_only=True)
class Family:
    """Names of the parts of one Hugging Face causal-LM class, as dotted paths from the model."""

    model_type: str
    architecture: str
    decoder: str
    embedding: str
    layers: str
    final_norm: str
    head: str
    sublayers: tuple[Sublayer, ...]
    hidden_size_divisor: str | None  # config key that must divide hidden_size, checked by transformers 5


_ATTENTION = Sublayer(
    norm="input_layernorm", core="self_attn", readers=("q_proj", "k_proj", "v_proj"), writer="o_proj"
)
_GATED_MLP = Sublayer(
    norm="post_attention_layernorm",
    core="mlp",
    readers=("gate_proj", "up_proj"),
    writer="down_proj",
    gate="gate_proj",
    up="up_proj",
    activation="act_fn",
)


def _llama_like(model_type: str, architecture: str, hidden_size_divisor: str | None) -> Family:
    return Family(
        model_type=model_type,
        architecture=architecture,
        decoder="model",
        embedding="model.embed_tokens",
        layers="model.layers",
        final_norm="model.norm",
        head="lm_head",
        sublayers=(_ATTENTION, _GATED_MLP),
        hidden_size_divisor=hidden_size_divisor,
    )


FAMILIES: dict[str, Family] = {
    family.model_type: family
    for family in (
        _llama_like("llama", "LlamaForCausalLM", "num_attention_heads"),
        _llama_like("mistral", "MistralForCausalLM", None),
    )
}


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
