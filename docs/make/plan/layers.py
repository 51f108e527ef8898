"""What widths that differ from layer to layer would gain: measured in transformers with patched layers.

No stock engine takes such a model of these families (see `plan/per_layer.py`), so none is written.
"""

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from dotresize.bench.quality.text_quality import measure_texts
from dotresize.compress.families.call_arguments import call_arguments
from dotresize.compress.layers.job import Job, Streams
from dotresize.compress.layers.layer import narrow_one_layer
from dotresize.compress.layers.survey import enter
from dotresize.compress.record.config import CompressConfig
from dotresize.compress.record.progress import Progress
from dotresize.compress.run import choose_device
from dotresize.compress.streams.stream import StreamRoom
from dotresize.compress.text.calibration import Windows
from dotresize.compress.text.calibration_windows import calibration_windows
from dotresize.compress.weights.source import DenseModel
from dotresize.compress.widths.plan import make_plan
from dotresize.plan.axes import AXES, Axes, axes_of
from dotresize.plan.observe import observe_model
from dotresize.plan.per_layer import spread_over_layers

from ..shared.kept_dense import KeptDense
from .setting import UNIFORM, Amount, Setting

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["measure_layers", "narrow_each_layer"]

FRACTION = 2 / 3  # of the MLP width, that is kept


def measure_layers(
    setting: Setting,
    amount: Amount,
    name: str,
    dense: DenseModel,
    original: KeptDense,
    texts: list[Windows],
    progress: Progress,
) -> dict[str, Any]:
    """Narrow the MLPs, all alike or as the proxy spreads the same width, and score the result."""
    config, device = setting.base(amount), choose_device(setting.base(amount).device)
    windows = calibration_windows(config, dense, device, progress)
    widths = _widths(dense, windows, uniform=name == UNIFORM, progress=progress)
    narrow = narrow_each_layer(dense, windows, widths, config, progress)
    quality = measure_texts({"dense": original, "narrow": narrow}, texts, progress=progress)
    return {"widths": widths, "quality": quality}


def _widths(dense: DenseModel, windows: Windows, *, uniform: bool, progress: Progress) -> list[int]:
    axes: Axes = axes_of(dense.config, dense.family)
    mlp, layers = AXES.index("mlp"), axes.dense[AXES.index("layers")]
    values, own = axes.values[mlp], axes.dense[mlp]
    same = min(values, key=lambda value: abs(value - FRACTION * own))
    if uniform:
        return [same] * layers
    with torch.no_grad():
        observed = observe_model(dense, windows.token_ids, choose_device("auto"), progress)
    return spread_over_layers(observed, "mlp", values, same * layers)


@torch.no_grad()
def narrow_each_layer(
    dense: DenseModel, windows: Windows, widths: Sequence[int], config: CompressConfig, progress: Progress
) -> "PreTrainedModel":
    """The model with another MLP width in each layer, fitted as `compress` fits it.

    Args:
        dense: the model; it is only read.
        windows: of the calibration.
        widths: of the MLP, one per layer.
        config: the other options; its widths do not count.
        progress: told about every step.
    """
    device, room = choose_device(config.device), StreamRoom()
    ids = windows.token_ids
    arguments = call_arguments(dense.model, dense.family, ids.shape[1], device)
    stream = enter(dense, ids, room)
    streams = Streams(stream, room.copy(stream), 0, room)
    model: PreTrainedModel = copy.deepcopy(dense.model)
    layers = model.get_submodule(dense.family.layers)
    read = dense.weights.layers(dense.family.layers, range(len(widths)), device)
    progress.begin("narrow each layer", len(widths))
    for index, (layer, width) in enumerate(zip(read, widths, strict=True)):
        job = _job(dense, config, width, ids, progress)
        narrow, _ = narrow_one_layer(job, layer, index, streams, arguments[index])
        layers[index] = narrow.to(dense.dtype)  # type: ignore[operator]
    model.eval().requires_grad_(False)
    return model


def _job(dense: DenseModel, config: CompressConfig, width: int, ids: torch.Tensor, progress: Progress) -> Job:
    """Of a model whose layers are all as wide as this one."""
    asked = CompressConfig(**{**vars(config), "mlp_width": None, "intermediate_size": width})
    return Job.of(
        None,  # the stream keeps its basis
        device=choose_device(config.device),
        family=dense.family,
        dense_config=dense.config,
        plan=make_plan(dense.config, dense.family, asked),
        config=asked.settings(),
        windows=len(ids),
        tokens=ids.numel(),
        stored_dtype=dense.dtype,
        progress=progress,
    )
