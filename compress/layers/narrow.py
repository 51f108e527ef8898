"""All tensors of the narrow model: embeddings, layers in order, final norm and head.

Each part goes to a sink as soon as it is finished; a resumed run reads it back and only moves the streams on.
"""

from dataclasses import asdict
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..families.surgery import narrow_layer
from ..record.report import BlockFit
from ..streams.memory import release_free_blocks
from ..streams.sink import EMBEDDINGS, HEAD, Sink, layer_part
from ..streams.stream import Stream, StreamRoom
from ..weights.dense import Dense
from .ends import embedded, narrow_embeddings, narrow_head
from .job import Job, Streams, held_last
from .layer import advance, drop_layer, narrow_one_layer
from .survey import enter

__all__ = ["narrow_tensors"]


def narrow_tensors(
    job: Job,
    dense: Dense,
    token_ids: Tensor,
    arguments: list[list[dict[str, Any]]],
    sink: Sink,
    room: StreamRoom,
) -> tuple[BlockFit, ...]:
    """Give every tensor of the narrow model to a sink, and return the fit errors.

    Args:
        job: what to do.
        dense: the model to narrow; it is only read.
        token_ids: calibration windows, (w, t) int64.
        arguments: of `call_arguments`.
        sink: where finished parts go.
        room: where the streams are put.

    Raises:
        ModelError: a tensor of the model is unknown to its family, or not finite.
    """
    own = _own(job, held_last(token_ids, job.held_windows))
    token_ids = own.token_ids
    narrow_start = _narrow_start(job, dense, token_ids, sink, room)
    streams = Streams(
        enter(dense, token_ids, room),
        narrow_start,
        held=own.held,
        before=own.before,
        fitted_by_all=own.fitted_by_all,
        room=room,
    )
    job.progress.begin("narrow the layers", job.steps * len(token_ids))
    kept = {index: number for number, index in enumerate(job.plan.kept_layers)}
    read = [index for index in range(len(arguments)) if index in kept or job.needs_dense_stream]
    fits: list[BlockFit] = []
    for index, layer in zip(read, dense.weights.layers(job.family.layers, read, job.device), strict=True):
        if index in kept:
            fits += _one_layer(job, layer, kept[index], streams, arguments[index], sink)
        else:
            drop_layer(job, layer, streams, arguments[index])
        release_free_blocks()
    found = sink.finished(HEAD)
    if found is not None:
        return (*fits, *(BlockFit(**fit) for fit in found[1]))
    head, head_fits = narrow_head(job, dense.weights, streams)
    sink.add(HEAD, head, [asdict(fit) for fit in head_fits])
    return (*fits, *head_fits)


class _Own(NamedTuple):
    """This process's windows, and where they are among all; see `Streams`."""

    token_ids: Tensor
    held: int
    before: int
    fitted_by_all: int


def _own(job: Job, token_ids: Tensor) -> _Own:
    windows, tokens = token_ids.shape
    fitted = windows - job.held_windows
    own, held = job.ranks.owned(fitted, tokens), job.ranks.owned(job.held_windows, tokens)
    return _Own(
        token_ids=torch.cat([token_ids[:fitted][own], token_ids[fitted:][held]]),
        held=held.stop - held.start,
        before=own.start,
        fitted_by_all=fitted,
    )


def _narrow_start(job: Job, dense: Dense, token_ids: Tensor, sink: Sink, room: StreamRoom) -> Stream | None:
    """The narrow stream before the first layer, None when nothing is fitted; its tables go to the sink."""
    found = sink.finished(EMBEDDINGS)
    tables = narrow_embeddings(job, dense.weights) if found is None else found[0]
    if found is None:
        sink.add(EMBEDDINGS, tables, [])
    if not job.fits_readout:
        return None
    family, config = job.plan.narrow_family, job.plan.narrow_config

    def make(batch: slice) -> Tensor:
        return embedded(tables, family, config, token_ids[batch], job.stored_dtype)

    windows, tokens = token_ids.shape
    return room.filled(windows, tokens, make)


def _one_layer(
    job: Job, dense_layer: nn.Module, number: int, streams: Streams, arguments: Any, sink: Sink
) -> list[BlockFit]:
    """Narrow a layer, or take over what an earlier run made of it; both streams move on."""
    prefix, part = f"{job.plan.narrow_family.layers}.{number}.", layer_part(number)
    found = sink.finished(part)
    if found is None:
        module, fits = narrow_one_layer(job, dense_layer, number, streams, arguments)
        tensors = {
            prefix + name: value.to(job.stored_dtype).cpu().contiguous()
            for name, value in module.state_dict().items()
        }
        sink.add(part, tensors, [asdict(fit) for fit in fits])
        return fits
    tensors, record = found
    module = narrow_layer(job.make_layer, dense_layer, job.family, job.plan.narrow_config, number)
    module.load_state_dict({name.removeprefix(prefix): value.float() for name, value in tensors.items()})
    advance(job, dense_layer, module, streams, arguments)
    return [BlockFit(**fit) for fit in record]
