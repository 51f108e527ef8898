"""Both ends of the narrow model: embeddings, and the final norm with the head behind it.

Shapes: v vocabulary; d, k old and new hidden size; w windows of t tokens.
"""

from typing import Any

import torch
from torch import Tensor

from ..families.canonical import gain_of
from ..families.family import Family, value_of
from ..maths.fold import absorb_gain, fold_embedding, fold_reader
from ..maths.zero_sum import carry_constant
from ..record.report import BlockFit
from ..weights.parts import Weights
from .job import Job, Streams
from .readout_fit import add_readout_rows, empty_readout_sums, fit_readout

__all__ = ["embedded", "narrow_embeddings", "narrow_head"]

_ROWS = 8192  # of a vocabulary's table that are folded at once


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


def narrow_embeddings(job: Job, weights: Weights) -> dict[str, Tensor]:
    """Every embedding of the narrow model, by name."""
    family, narrow = job.family, job.plan.narrow_family
    dtype = weights.module(family.embedding).get_parameter("weight").dtype
    ratio = _embedding_scale(family, job.dense_config, dtype) / _embedding_scale(
        narrow, job.plan.narrow_config, job.stored_dtype
    )
    tables = [(family.embedding, narrow.embedding, ratio)]
    if family.position_embedding is not None and narrow.position_embedding is not None:
        tables.append((family.position_embedding, narrow.position_embedding, 1.0))
    state = {}
    for name, new_name, factor in tables:
        table: Tensor = weights.module(name).get_parameter("weight")
        if job.project is None:
            state[f"{new_name}.weight"] = _stored(job, table)
            continue
        project = job.project
        parts = [
            _stored(job, fold_embedding(rows.to(job.device), project) * factor) for rows in _parts(table)
        ]
        state[f"{new_name}.weight"] = torch.cat(parts)
    return state


def narrow_head(job: Job, weights: Weights, streams: Streams) -> tuple[dict[str, Tensor], list[BlockFit]]:
    """Final norm and head, as they are when the stream keeps its basis; and the readout's error.

    Only the first of several processes makes the tensors.
    """
    family, narrow = job.family, job.plan.narrow_family
    norm = weights.module(family.final_norm)
    norms = {name: value.to(job.device) for name, value in norm.named_parameters()}
    readout, fits = _head_readout(job, streams) if job.plan.changes_basis else (None, [])
    state: dict[str, Tensor] = {}
    if not job.ranks.is_first:
        return state, fits
    if not job.plan.narrow_config.tie_word_embeddings:
        head: Tensor = weights.module(family.head).get_parameter("weight")
        if job.plan.changes_basis:
            gain, shift = gain_of(norm, family.gain_offset), norms.get("bias")
            factor = _logits_divisor(narrow, job.plan.narrow_config) / _logits_divisor(
                family, job.dense_config
            )
            parts = []
            for rows in _parts(head):
                folded = _folded_head(rows.to(job.device), gain, shift, readout)
                parts.append(_stored(job, folded * factor))
            head = torch.cat(parts)
        state[f"{narrow.head}.weight"] = _stored(job, head)
    if job.plan.changes_basis:
        width = job.plan.narrow.hidden_size
        norms = {
            name: torch.full((width,), 1.0 if name == "bias" else 1.0 - family.gain_offset) for name in norms
        }
    state |= {f"{narrow.final_norm}.{name}": _stored(job, value) for name, value in norms.items()}
    return state, fits


def _folded_head(rows: Tensor, gain: Tensor | None, shift: Tensor | None, readout: Tensor | None) -> Tensor:
    """Rows (r, d) of the head, reading the narrow stream, (r, k) float64."""
    folded = rows.double() if gain is None else absorb_gain(rows, gain.to(rows.device))
    if readout is not None:
        folded = fold_reader(folded, readout)
    if shift is not None:
        folded = carry_constant(folded, rows.double() @ shift.double())
    return folded


def _parts(table: Tensor) -> tuple[Tensor, ...]:
    """A table (v, d) in parts, because all of it in float64 may be larger than everything else."""
    parts: tuple[Tensor, ...] = table.split(_ROWS)
    return parts


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
