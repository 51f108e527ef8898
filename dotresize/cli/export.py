"""`dotresize export onnx|gguf|vllm`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .asked.gate import Program
from .options.dtypes import gguf_type, onnx_precision
from .options.export import FallbackF16, GroupSize, Provider, Quantize, Rounding, ShardBytes
from .options.run import Device, Dtype, Force, Json, Output, Seed
from .options.texts import Calibration, CalibrationWindows, WindowTokens
from .printed.output import emit, spinner, styled

if TYPE_CHECKING:
    from ..export.contract.manifest import Manifest

__all__ = ["export"]

export = Program(no_args_is_help=True, help="Turn a narrowed checkpoint into what other runtimes load.")

Source = Annotated[Path, typer.Argument(help="A checkpoint that `compress` wrote.", metavar="DIR")]


@export.command()
def onnx(
    directory: Source,
    output: Output,
    dtype: Dtype = "int4",
    provider: Provider = "cpu",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """ONNX for ONNX Runtime and ONNX Runtime GenAI."""
    from ..export.to_onnx import OnnxConfig, export_onnx

    config = OnnxConfig(precision=onnx_precision(dtype), provider=provider)  # type: ignore[arg-type]
    with spinner("reading") as tell:
        record = export_onnx(directory, output, config, force=force, progress=tell)
    _show(record, output, as_json=as_json)


@export.command()
def gguf(
    directory: Source,
    output: Output,
    dtype: Dtype = "float16",
    fallback_f16: FallbackF16 = False,
    calibration: Calibration = None,
    calibration_windows: CalibrationWindows = None,
    window_tokens: WindowTokens = 1024,
    seed: Seed = 42,
    device: Device = "auto",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """One GGUF file for llama.cpp."""
    from ..export.for_gguf.to_gguf import GgufConfig, export_gguf

    config = GgufConfig(
        type=gguf_type(dtype),  # type: ignore[arg-type]
        fallback_f16=fallback_f16,
        calibration=tuple(calibration or ()),
        calibration_windows=calibration_windows,
        window_tokens=window_tokens,
        seed=seed,
        device=device,
    )
    with spinner("reading") as tell:
        record = export_gguf(directory, output, config, force=force, progress=tell)
    _show(record, output, as_json=as_json)


@export.command()
def vllm(
    directory: Source,
    output: Output,
    dtype: Dtype = "bfloat16",
    quantize: Quantize = "none",
    group_size: GroupSize = None,
    rounding: Rounding = None,
    calibration: Calibration = None,
    calibration_windows: CalibrationWindows = None,
    window_tokens: WindowTokens = 1024,
    seed: Seed = 42,
    device: Device = "auto",
    provider: Provider = "auto",
    shard_bytes: ShardBytes = 5_000_000_000,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """A checkpoint for vLLM in another dtype, or quantised."""
    from ..export.for_vllm.to_vllm import VllmConfig, export_vllm

    config = VllmConfig(
        dtype=dtype,  # type: ignore[arg-type]
        quantize=quantize,  # type: ignore[arg-type]
        group_size=group_size,
        rounding=rounding,  # type: ignore[arg-type]
        calibration=tuple(calibration or ()),
        calibration_windows=calibration_windows,
        window_tokens=window_tokens,
        seed=seed,
        device=device,
        provider=provider,
        shard_bytes=shard_bytes,
    )
    with spinner("reading") as tell:
        record = export_vllm(directory, output, config, force=force, progress=tell)
    _show(record, output, as_json=as_json)


def _show(record: "Manifest", output: Path, *, as_json: bool) -> None:
    written_bytes = sum(entry.bytes for entry in record.files.values())
    data: dict[str, Any] = {
        "output": str(output),
        "format": record.format,
        "precision": record.precision,
        "provider": record.provider,
        "bytes": written_bytes,
        "fallbacks": record.quantisation.fallbacks if record.quantisation else {},
    }
    line = styled(str(output), "bold", f": {record.format} {record.precision}, {written_bytes / 1e6:,.1f} MB")
    emit(data, line, *_fallbacks(data["fallbacks"]), f"next: dotresize verify {output}", as_json=as_json)


def _fallbacks(counts: dict[str, int]) -> list[str]:
    """What a user would miss in a file of this name: most types have blocks of 256, most widths do not."""
    if not counts:
        return []
    types = ", ".join(f"{count} as {name}" for name, count in counts.items())
    return [f"matrices whose rows blocks of 256 do not divide, stored by llama.cpp in larger types: {types}"]
