"""All tensors of the narrow model: embeddings, layers in order, final norm and head.

Finished layers go to the work directory; a resumed run reads them back and only moves the streams on.
"""

from dataclasses import asdict
from typing import Any

from torch import Tensor, nn

from .ends import embedded, narrow_embeddings, narrow_head
from .job import Job, Streams, held_last
from .layers import advance, drop_layer, narrow_one_layer
from .report import BlockFit
from .resume import WorkDirectory
from .source import DenseModel
from .surgery import narrow_layer, to_float32
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
        arguments: of `call_arguments`.
        work: where finished layers are kept.

    Raises:
        ModelError: a tensor of the model is unknown to its family, or not finite.
    """
    family = job.plan.narrow_family
    token_ids = held_last(token_ids, job.held_windows)
    state = narrow_embeddings(job, dense.model)
    narrow_start = None
    if job.fits_readout:
        narrow_start = embedded(state, family, job.plan.narrow_config, token_ids, job.stored_dtype)
    streams = Streams(embed(dense, token_ids), narrow_start, job.held_windows)
    layers = list(dense.model.get_submodule(job.family.layers).children())
    job.progress.begin("narrow the layers", job.steps * len(token_ids))
    fits: list[BlockFit] = []
    number = 0
    for index, (layer, layer_arguments) in enumerate(zip(layers, arguments, strict=True)):
        if index not in job.plan.kept_layers:
            if job.needs_dense_stream:
                drop_layer(job, layer, streams, layer_arguments)
            continue
        tensors, layer_fits = _one_layer(job, layer, number, streams, layer_arguments, work)
        state.update({f"{family.layers}.{number}.{name}": tensor for name, tensor in tensors.items()})
        fits += layer_fits
        number += 1
    head, head_fits = narrow_head(job, dense.model, streams)
    return state | head, (*fits, *head_fits)


def _one_layer(
    job: Job, layer: nn.Module, index: int, streams: Streams, arguments: Any, work: WorkDirectory
) -> tuple[dict[str, Tensor], list[BlockFit]]:
    name = f"layer-{index:05d}"
    kept = work.load(name)
    if kept is None:
        module, fits = narrow_one_layer(job, layer, index, streams, arguments)
        tensors = {
            key: value.to(job.stored_dtype).cpu().contiguous() for key, value in module.state_dict().items()
        }
        work.store(name, tensors, [asdict(fit) for fit in fits])
        return tensors, fits
    tensors, record = kept
    dense_layer = to_float32(layer, job.device)
    module = narrow_layer(job.make_layer, dense_layer, job.family, job.plan.narrow_config, index)
    module.load_state_dict({key: value.float() for key, value in tensors.items()})
    advance(job, dense_layer, module, streams, arguments)
    return tensors, [BlockFit(**fit) for fit in record]
