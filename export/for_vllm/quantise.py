"""Floats -> compressed-tensors, the format in which vLLM reads quantised weights.

Which values the weights get is decided here: the nearest codes, or those that the calibration says change
the model least (`compress/maths/rounding.py`), fitted and rounded matrix by matrix while the layers are
walked through, so that each fit sees what rounding did before it. compressed-tensors comes
with vLLM; llm-compressor 0.14 pins another compressed-tensors and an older transformers than vLLM 0.32 and
this package.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ...compress.record.progress import Progress
from .config import VllmConfig

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from ...compress.maths.rounding import Grid
    from ...compress.record.config import CompressConfig
    from ...compress.record.report import CalibrationRecord

__all__ = ["Quantised", "calibrated", "dequantised", "fit_config", "pack", "rounded_to_nearest"]

_PRESETS = {"fp8": "FP8_DYNAMIC", "w8a8": "W8A8", "w8a16": "W8A16", "w4a16": "W4A16"}
_CODES = {"fp8": "fp8", "w8a8": "int8", "w8a16": "int8", "w4a16": "int4"}


class Quantised(NamedTuple):
    """A model whose linear layers but the head hold scale times code, and the scales (out, groups)."""

    model: "PreTrainedModel"
    scales: "dict[str, Tensor]"
    calibration: "CalibrationRecord | None"  # what was looked at


def rounded_to_nearest(
    model: "PreTrainedModel", config: VllmConfig, progress: Callable[[str], None]
) -> Quantised:
    """Round every linear layer but the head to the nearest codes, in place."""
    import torch

    from ...compress.maths.rounding import best_scales

    grid, scales = _grid(config), {}
    linears = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not model.get_output_embeddings()
    }
    for number, (name, module) in enumerate(linears.items(), start=1):
        progress(f"rounding matrix {number} of {len(linears)}")
        weight = module.weight.data
        scale = scales[name] = best_scales(weight, torch.ones(weight.shape[1]), grid)
        steps = scale.double().repeat_interleave(weight.shape[1] // scale.shape[1], 1)
        weight.copy_(grid.nearest(weight.double() / steps) * steps)
    return Quantised(model, scales, None)


def calibrated(directory: Path, config: VllmConfig, progress: Progress) -> Quantised:
    """Fit and round a checkpoint of ours, at the widths that it has.

    Raises:
        InputError: A text or the device cannot be used, or the family is not one that can be fitted.
    """
    from ...compress.layers.rounded_sites import Rounding
    from ...compress.output.resume import WorkDirectory
    from ...compress.record.progress import Stopwatch
    from ...compress.run import assembled, narrow_into
    from ...compress.streams.sink import MemorySink
    from ...compress.streams.stream import StreamRoom
    from ...compress.weights.source import open_model

    dense, rounding = open_model(str(directory)).load(), Rounding(_grid(config))
    sink = MemorySink(WorkDirectory(None))
    found = narrow_into(
        lambda *_: sink,
        dense,
        fit_config(config),
        progress=progress,
        work=sink.work,
        watch=Stopwatch(),
        room=StreamRoom(),
        rounding=rounding,
    )
    return Quantised(assembled(dense, found, sink.state).model, rounding.scales, found.report.calibration)


def fit_config(config: VllmConfig) -> "CompressConfig":
    """The compression that keeps every width, for the fits and the texts of calibrated rounding."""
    quick = config.quantize == "w4a16"  # what 4 bits lose hides what products do
    return replace(config.texts, effort="quick" if quick else None, dtype=config.dtype)


def pack(quantised: Quantised, config: VllmConfig) -> Any:
    """Store codes and scales in place of the weights; returns what completes config.json."""
    from compressed_tensors.compressors import ModelCompressor
    from compressed_tensors.quantization import (
        QuantizationConfig,
        apply_quantization_config,
        preset_name_to_scheme,
    )

    model = quantised.model
    scheme = preset_name_to_scheme(_PRESETS[config.quantize], targets=["Linear"])
    if config.scale_group is not None:
        scheme.weights.group_size = config.scale_group
    apply_quantization_config(
        model, QuantizationConfig(config_groups={"group_0": scheme}, ignore=_left(quantised))
    )
    for name, scale in quantised.scales.items():
        model.get_submodule(name).get_parameter("weight_scale").data.copy_(scale)
    compressor = ModelCompressor.from_pretrained_model(model)
    assert compressor is not None, "the quantisation config was applied above"
    compressor.compress_model(model)
    return compressor


def dequantised(directory: Path) -> "PreTrainedModel":
    """The model that a quantised export stands for, in float32: its weights are scale times code.

    Raises:
        ModelError: It cannot be read.
    """
    import warnings

    import torch

    from ...foreign import reading

    with reading(directory, by="transformers"), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that our request to dequantise is what counts
        from transformers import AutoModelForCausalLM, CompressedTensorsConfig

        read = AutoModelForCausalLM.from_pretrained(
            directory,
            dtype=torch.float32,
            quantization_config=CompressedTensorsConfig(dequantize=True),
            local_files_only=True,
        )
        config = read.config
        if hasattr(config, "quantization_config"):
            del config.quantization_config
        plain: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        names = plain.state_dict().keys()
        plain.load_state_dict({name: value for name, value in read.state_dict().items() if name in names})
    return plain.eval().requires_grad_(False)  # type: ignore[no-any-return]


def _left(quantised: Quantised) -> list[str]:
    """Linear layers without scales, the head first of all: they stay floats."""
    from torch import nn

    linears = (name for name, module in quantised.model.named_modules() if isinstance(module, nn.Linear))
    return sorted({"lm_head", *linears} - set(quantised.scales))


def _grid(config: VllmConfig) -> "Grid":
    import torch

    from ...compress.maths.rounding import Grid

    return Grid(
        codes=_CODES[config.quantize],  # type: ignore[arg-type]
        group_size=config.scale_group,
        scale_dtype=getattr(torch, config.dtype),
    )
