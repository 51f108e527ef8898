"""Models that hold less than their shape: what narrowing removes from them is not there.

The stream lives in a subspace; one key-value group and a quarter of the neurons write nothing. Narrowed to
what is alive the model is the same function, without any fit: every scale, bias and epsilon has to be right.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["confine_stream", "silence_group", "silence_neurons"]

ATTENTION = ("self_attn.o_proj", "self_attn.out_proj", "attn.c_proj", "attention.dense")
MLP = ("mlp.down_proj", "mlp.c_proj", "fc2", "mlp.dense_4h_to_h", "experts.down_proj")
EMBEDDINGS = ("embed_tokens", "embed_positions", "wte", "wpe", "embed_in")


def _writers(model: "PreTrainedModel", names: tuple[str, ...]) -> list[Tensor]:
    """Views (..., d, i) of all writers: Conv1D is turned round."""
    from transformers.pytorch_utils import Conv1D

    found = []
    for name, parameter in model.named_parameters():
        path = name.removesuffix(".weight")
        if path.endswith(names):
            owner = model.get_submodule(path.rpartition(".")[0] if path == name else path)
            found.append(parameter.data.T if isinstance(owner, Conv1D) else parameter.data)
    assert len(found) == model.config.num_hidden_layers
    return found


def confine_stream(model: "PreTrainedModel", directions: Tensor) -> None:
    """Keep of everything that enters the stream the part along `directions` (d, r), orthonormal."""
    projector = directions @ directions.T
    for weight in _writers(model, ATTENTION) + _writers(model, MLP):
        weight.copy_(projector @ weight)
    for name, parameter in model.named_parameters():
        path, _, leaf = name.rpartition(".")
        if (leaf == "bias" and path.endswith(ATTENTION + MLP)) or path.endswith(EMBEDDINGS):
            parameter.data.copy_(parameter.data @ projector)


def silence_group(model: "PreTrainedModel", group: int) -> None:
    """Let no query head of a key-value group write."""
    config = model.config
    groups = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    for weight in _writers(model, ATTENTION):
        size = weight.shape[-1] // groups
        weight[:, group * size : (group + 1) * size] = 0


def silence_neurons(model: "PreTrainedModel", count: int) -> None:
    """Let `count` neurons of each MLP write nothing, in each expert others."""
    generator = torch.Generator().manual_seed(0)
    for weight in _writers(model, MLP):
        for matrix in weight if weight.ndim == 3 else weight[None]:
            matrix[:, torch.randperm(matrix.shape[1], generator=generator)[:count]] = 0
