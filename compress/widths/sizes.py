"""Exact sizes of the stock model that a config describes."""

from typing import TYPE_CHECKING

import torch
from torch import nn

from ..families.family import Family
from ..families.hollow import hollow_model
from ..families.shape import widths_of
from ..record.config import CompressConfig
from ..record.report import Counts
from ..weights.source import OpenModel
from .plan import make_plan

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

__all__ = ["count_sizes", "predict_counts", "sizes_of"]


def count_sizes(config: "PreTrainedConfig", family: Family, dtype: torch.dtype) -> Counts:
    """Parameters, bytes and operations, counted on the meta device. A token uses some of the experts."""
    return sizes_of(hollow_model(config), config, family, dtype)


def sizes_of(model: nn.Module, config: "PreTrainedConfig", family: Family, dtype: torch.dtype) -> Counts:
    """`count_sizes` of a hollow model."""
    tables = tuple(path for path in (family.embedding, family.position_embedding) if path)
    embedding = sum(model.get_submodule(path).get_parameter("weight").numel() for path in tables)
    tied = bool(config.tie_word_embeddings)
    head = model.get_submodule(family.head).get_parameter("weight")
    body = matrices = 0
    for name, parameter in model.named_parameters():
        if name.startswith((*tables, family.head)):
            continue
        body += parameter.numel()
        if name.startswith(family.layers) and parameter.ndim == 2:
            matrices += parameter.numel()
        elif name.startswith(family.layers) and parameter.ndim == 3:
            matrices += parameter[0].numel() * config.num_experts_per_tok
    widths = widths_of(config, family)
    item_bytes = torch.empty((), dtype=dtype).element_size()
    stored = embedding + (0 if tied else head.numel()) + body
    return Counts(
        embedding_parameters=embedding,
        head_parameters=0 if tied else head.numel(),
        layer_parameters=body,
        weight_bytes=stored * item_bytes,
        flops_per_token=2 * (matrices + head.numel()),
        kv_cache_bytes_per_token=widths.cache_elements_per_token * item_bytes,
    )


def predict_counts(opened: OpenModel, config: CompressConfig) -> Counts:
    """The sizes of what `compress` will make of a model, before a weight is read; bytes are at least.

    Raises:
        InputError: a width or an option cannot be used.
    """
    plan = make_plan(opened.config, opened.family, config)
    plan = plan.keeping(tuple(range(plan.narrow.num_hidden_layers)))  # which ones stay decides no size
    dtype = _least_dtype(opened) if config.dtype == "auto" else getattr(torch, config.dtype)
    return count_sizes(plan.narrow_config, plan.narrow_family, dtype)


def _least_dtype(opened: OpenModel) -> torch.dtype:
    """What the config says; else two bytes for each weight, which no float weight is below."""
    said = getattr(opened.config, "dtype", None)
    if said == torch.float64:
        return torch.float32  # as they are loaded
    return said if isinstance(said, torch.dtype) else torch.bfloat16
