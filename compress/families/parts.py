"""What rows of families are put together from: usual attentions and MLPs, and the names of a Llama."""

from dataclasses import replace
from typing import Any

from .family import Family, Inner, Part, Role, Site, Sublayer

__all__ = [
    "EXPERT_MLP",
    "GATED_MLP",
    "attention",
    "fused_attention",
    "gemma_with_post_norms",
    "llama_like",
    "mlp",
]

_QKV: tuple[Inner, ...] = ("query", "key", "value")
_GATE_UP: tuple[Inner, ...] = ("neuron", "neuron")
_EXPERTS = "experts"
_HALVES: tuple[Role, ...] = ("gate", "up")


def attention(writer: str = "o_proj", **more: Any) -> Sublayer:
    """Queries, keys and values in matrices of their own."""
    readers = tuple(Site(path=f"{inner[0]}_proj", role="reader", inner=inner) for inner in _QKV)
    defaults: dict[str, Any] = {"core": "self_attn", "norm": "input_layernorm"}
    return Sublayer(
        **defaults | more,
        sites=(*readers, Site(path=writer, role="writer", inner="query")),
    )


def fused_attention(
    path: str, writer: str, *, transposed: bool = False, by_head: bool = False, **more: Any
) -> Sublayer:
    """Queries, keys and values stacked in one matrix."""
    readers = tuple(
        Site(
            path=path,
            role="reader",
            inner=inner,
            part=Part(index=index, of=_QKV, by_head=by_head),
            transposed=transposed,
        )
        for index, inner in enumerate(_QKV)
    )
    return Sublayer(
        **more, sites=(*readers, Site(path=writer, role="writer", inner="query", transposed=transposed))
    )


def mlp(gate: str, up: str | None, down: str, *, transposed: bool = False, **more: Any) -> Sublayer:
    """act(gate) * up, or act(gate) alone; gate and up of one name are halves of one matrix."""
    fused = gate == up
    sites = [
        Site(
            path=path,
            role=role,
            inner="neuron",
            part=Part(index=index, of=_GATE_UP) if fused else None,
            transposed=transposed,
        )
        for index, (path, role) in enumerate(zip((gate, up), _HALVES, strict=True))
        if path is not None
    ]
    writer = Site(path=down, role="writer", inner="neuron", transposed=transposed)
    defaults: dict[str, Any] = {"core": "mlp", "norm": "post_attention_layernorm", "activation": "act_fn"}
    return Sublayer(**defaults | more, sites=(*sites, writer))


GATED_MLP = mlp("gate_proj", "up_proj", "down_proj")
EXPERT_MLP = Sublayer(
    core="mlp",
    norm="post_attention_layernorm",
    activation="experts.act_fn",
    experts=True,
    sites=(
        Site(path="gate", role="router", inner="expert"),
        *(
            Site(
                path=_EXPERTS,
                role=role,
                inner="neuron",
                part=Part(index=index, of=_GATE_UP),
                parameter="gate_up_proj",
            )
            for index, role in enumerate(_HALVES)
        ),
        Site(path=_EXPERTS, role="writer", inner="neuron", parameter="down_proj"),
    ),
)


def llama_like(name: str, model_type: str, architecture: str, **more: Any) -> Family:
    """Names as in a Llama; `more` says what differs."""
    defaults: dict[str, Any] = {
        "decoder": "model",
        "embedding": "model.embed_tokens",
        "layers": "model.layers",
        "final_norm": "model.norm",
        "head": "lm_head",
        "sublayers": (attention(), GATED_MLP),
    }
    return Family(name=name, model_type=model_type, architecture=architecture, **defaults | more)


def gemma_with_post_norms(name: str, model_type: str, architecture: str) -> Family:
    """Norms with gains of their own behind each sublayer."""
    return llama_like(
        name,
        model_type,
        architecture,
        sublayers=(
            attention(post_norm="post_attention_layernorm"),
            replace(GATED_MLP, norm="pre_feedforward_layernorm", post_norm="post_feedforward_layernorm"),
        ),
        gain_offset=1.0,
        embedding_multiplier="sqrt_hidden",
        hidden_size_divisor="num_attention_heads",
        rotates=False,
        per_layer_keys=("layer_types",),
    )
