"""All tensors of the narrow model: embedding, layers in order, final norm and head.

Finished layers go to the work directory; a resumed run reads them back and only moves the streams on.
"""

from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from .fold import absorb_gain, fold_embedding, fold_reader
from .job import Job, Streams
from .layers import advance, fit_head, narrow_one_layer
from .report import BlockFit
from .resume import WorkDirectory
from .source import DenseModel
from .surgery import narrow_layer
from .survey import embed

__all__ = ["narrow_tensors"]


def narrow_tensors(
    job: Job,
    dense: DenseModel,
    token_ids: Tensor,
    arguments: list[list[dict[str, Any]]],
    work: WorkDirectory,
) -> tuple[dict[str, Tensor], tuple[BlockFit, ...]]:
    """Every tensor by its Hugging Face name, on the CPU in the stored dtype, and the fit errors.

    Args:
        job: what to do.
        dense: the model to narrow; it is only read.
        token_ids: calibration windows, (w, t) int64.
        arguments: of `activations.call_arguments`.
        work: where finished layers are kept.
    """
    family = dense.family
    embedding: Tensor = dense.model.get_submodule(family.embedding).get_parameter("weight")
    if job.plan.changes_basis:
        embedding = fold_embedding(embedding.to(job.device), job.project)
    embedding = _stored(job, embedding)
    narrow_start = embedding[token_ids].float() if job.fits_readout else None
    streams = Streams(embed(dense, token_ids), narrow_start)
    layers = list(dense.model.get_submodule(family.layers).children())
    job.progress.begin("narrow the layers", len(layers) * job.passes * len(token_ids))
    state, fits = {f"{family.embedding}.weight": embedding}, []
    for index, (layer, layer_arguments) in enumerate(zip(layers, arguments, strict=True)):
        tensors, layer_fits = _one_layer(job, layer, index, streams, layer_arguments, work)
        state.update({f"{family.layers}.{index}.{name}": tensor for name, tensor in tensors.items()})
        fits += layer_fits
    head, head_fits = _head(job, dense, streams)
    return state | head, (*fits, *head_fits)


def _stored(job: Job, tensor: Tensor) -> Tensor:
    return tensor.to(job.stored_dtype).cpu().contiguous()


def _one_layer(
    job: Job, layer: nn.Module, index: int, streams: Streams, arguments: Any, work: WorkDirectory
) -> tuple[dict[str, Tensor], list[BlockFit]]:
    name = f"layer-{index:05d}"
    kept = work.load(name)
    if kept is None:
        module, fits = narrow_one_layer(job, layer, index, streams, arguments)
        tensors = {key: _stored(job, value) for key, value in module.state_dict().items()}
        work.store(name, tensors, [asdict(fit) for fit in fits])
        return tensors, fits
    tensors, record = kept
    module = narrow_layer(layer, job.plan.narrow_config, index, job.device)
    module.load_state_dict({key: value.float() for key, value in tensors.items()})
    advance(job, layer, module, streams, arguments)
    return tensors, [BlockFit(**fit) for fit in record]


def _head(job: Job, dense: DenseModel, streams: Streams) -> tuple[dict[str, Tensor], list[BlockFit]]:
    """Final norm and head. They stay as they are when the stream keeps its basis."""
    family = dense.family
    gain = dense.model.get_submodule(family.final_norm).get_parameter("weight").to(job.device)
    head: Tensor = dense.model.get_submodule(family.head).get_parameter("weight").to(job.device)
    fits: list[BlockFit] = []
    if job.plan.changes_basis:
        readout, fits = fit_head(job, streams)
        head = fold_reader(absorb_gain(head, gain), readout)
        gain = torch.ones(job.plan.narrow.hidden_size)
    state = {f"{family.final_norm}.weight": _stored(job, gain)}
    if not job.plan.narrow_config.tie_word_embeddings:
        state[f"{family.head}.weight"] = _stored(job, head)
    return state, fits
