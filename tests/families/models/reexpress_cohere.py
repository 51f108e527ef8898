"""A Llama as a Cohere: LayerNorm, attention and MLP side by side, neighbouring pairs rotated."""

from typing import TYPE_CHECKING

from .expressed import Expressed, config_of

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["as_cohere"]


def as_cohere(llama: Expressed) -> Expressed:
    """The stream x as (x, -x), whose mean is zero, so that LayerNorm divides by rms(x) alone.

    Cohere runs attention and MLP side by side, so every layer becomes two: one whose MLP writes nothing, one
    whose attention writes nothing. It rotates neighbouring values of a head and always ties the head.
    """
    import torch

    config, old = llama.config, llama.state
    embedding = old["model.embed_tokens.weight"]
    state = {"model.embed_tokens.weight": torch.cat((embedding, -embedding), 1)}
    for i in range(config.num_hidden_layers):
        layer = {name.split(f"layers.{i}.")[1]: value for name, value in old.items() if f".{i}." in name}
        for j, silent in ((2 * i, "mlp.down_proj"), (2 * i + 1, "self_attn.o_proj")):
            norm = "post_attention_layernorm" if silent.startswith("self") else "input_layernorm"
            gain = layer[f"{norm}.weight"]
            state[f"model.layers.{j}.input_layernorm.weight"] = torch.cat((gain, gain))
            for name, value in layer.items():
                if not name.endswith("layernorm.weight"):
                    silence = 2.0**-100 if name.startswith(silent) else 1.0
                    state[f"model.layers.{j}.{name}"] = _doubled(name, value, config.head_dim) * silence
    gain = old["model.norm.weight"] * 0.5 / 0.25  # both halves reach the head, and logits are scaled
    state["model.norm.weight"] = torch.cat((gain, gain))
    own = {"layer_norm_eps": config.rms_norm_eps, "logit_scale": 0.25, "tie_word_embeddings": True}
    own |= {"hidden_size": 2 * config.hidden_size, "num_hidden_layers": 2 * config.num_hidden_layers}
    return Expressed(config_of("CohereConfig", config, **own), state)


def _doubled(name: str, weight: "Tensor", head_dim: int) -> "Tensor":
    """A reader or writer of x -> one of (x, -x); the rows of q and k in neighbouring pairs."""
    import torch

    if name.endswith(("o_proj.weight", "down_proj.weight")):
        return torch.cat((weight, -weight), 0)
    if name.endswith(("q_proj.weight", "k_proj.weight")):
        weight = weight.unflatten(0, (-1, 2, head_dim // 2)).transpose(1, 2).flatten(0, 2)
    return torch.cat((weight, -weight), 1) / 2
