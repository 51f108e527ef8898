"""Both ends of the narrow model: embeddings, and the final norm with the head behind it.

Shapes: v vocabulary; d, k old and new hidden size; w windows of t tokens.
"""

from typing import Any

import torch
from torch import Tensor, nn

from .canonical import gain_of
from .families import Family, value_of
from .fold import absorb_gain, fold_embedding, fold_reader
from .job import Job, Streams
from .readout_fit import add_readout_rows, empty_readout_sums, fit_readout
from .report import BlockFit
from .zero_sum import carry_constant

__all__ = ["embedded", "narrow_embeddings", "narrow_head"]


def embedded(
    state: dict[str, Tensor], family: Family, config: Any, token_ids: Tensor, dtype: torch.dtype
) -> Tensor:
    """The residual stream before the first layer, (w, t, hidden) float32 on the CPU.

    Args:
        state: holds the embeddings by their names in the model.
        family: of the model.
        config: of the model.
        token_ids: (w, t) int64.
        dtype: of the model; multipliers are rounded to it where transformers does.
    """
    table = state[f"{family.embedding}.weight"]
    scale, wide = _embedding_scale(family, config, dtype), torch.promote_types(table.dtype, torch.float32)
    stream = table[token_ids.to(table.device)].to(wide) * scale
    if family.position_embedding is not None:
        first = family.position_offset
        stream = stream + state[f"{family.position_embedding}.weight"][first : first + token_ids.shape[1]]
    return stream.cpu()


def narrow_embeddings(job: Job, model: nn.Module) -> dict[str, Tensor]:
    """Every embedding of the narrow model, by name."""
    family, narrow = job.family, job.plan.narrow_family
    dtype = model.get_submodule(family.embedding).get_parameter("weight").dtype
    ratio = _embedding_scale(family, job.dense_config, dtype) / _embedding_scale(
        narrow, job.plan.narrow_config, job.stored_dtype
    )
    tables = [(family.embedding, narrow.embedding, ratio)]
    if family.position_embedding is not None and narrow.position_embedding is not None:
        tables.append((family.position_embedding, narrow.position_embedding, 1.0))
    state = {}
    for name, new_name, factor in tables:
        table: Tensor = model.get_submodule(name).get_parameter("weight")
        if job.project is not None:
            table = fold_embedding(table.to(job.device), job.project) * factor
        state[f"{new_name}.weight"] = _stored(job, table)
    return state


def narrow_head(job: Job, model: nn.Module, streams: Streams) -> tuple[dict[str, Tensor], list[BlockFit]]:
    """Final norm and head, as they are when the stream keeps its basis; and the readout's error."""
    family, narrow = job.family, job.plan.narrow_family
    norm = model.get_submodule(family.final_norm)
    head: Tensor = model.get_submodule(family.head).get_parameter("weight").to(job.device)
    norms = {name: value.to(job.device) for name, value in norm.named_parameters()}
    fits: list[BlockFit] = []
    if job.plan.changes_basis:
        readout, fits = _head_readout(job, streams)
        gain, shift = gain_of(norm, family.gain_offset), norms.get("bias")
        folded = head.double() if gain is None else absorb_gain(head, gain.to(job.device))
        if readout is not None:
            folded = fold_reader(folded, readout)
        if shift is not None:
            folded = carry_constant(folded, head.double() @ shift.double())
        head = folded * (
            _logits_divisor(narrow, job.plan.narrow_config) / _logits_divisor(family, job.dense_config)
        )
        width = job.plan.narrow.hidden_size
        norms = {
            name: torch.full((width,), 1.0 if name == "bias" else 1.0 - family.gain_offset) for name in norms
        }
    state = {f"{narrow.final_norm}.{name}": _stored(job, value) for name, value in norms.items()}
    if not job.plan.narrow_config.tie_word_embeddings:
        state[f"{narrow.head}.weight"] = _stored(job, head)
    return state, fits


def _head_readout(job: Job, streams: Streams) -> tuple[Tensor | None, list[BlockFit]]:
    sums = empty_readout_sums(job)
    if sums is not None and streams.narrow is not None:
        for batch in streams.fitted_slices():
            add_readout_rows(job, sums, streams.dense[batch], streams.narrow[batch])
    return fit_readout(job, sums, job.plan.narrow.num_hidden_layers, f"{job.family.head}.readout")


def _embedding_scale(family: Family, config: Any, dtype: torch.dtype) -> float:
    """What the class multiplies the token embedding with."""
    if family.embedding_multiplier is None:
        return 1.0
    if family.embedding_multiplier == "sqrt_hidden":
        return float(torch.tensor(config.hidden_size**0.5).to(dtype))
    return float(value_of(config, family.embedding_multiplier))


def _logits_divisor(family: Family, config: Any) -> float:
    return float(value_of(config, family.logits_divisor)) if family.logits_divisor else 1.0


def _stored(job: Job, tensor: Tensor) -> Tensor:
    return tensor.to(job.stored_dtype).cpu().contiguous()
