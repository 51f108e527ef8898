"""`dotresize export onnx|gguf|vllm`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import app
from .gate import Program
from .output import emit, spinner, styled

if TYPE_CHECKING:
    from ..export.manifest import Manifest

__all__ = ["export"]

export = Program(no_args_is_help=True, help="Turn a narrowed checkpoint into what other runtimes load.")
app.add_typer(export, name="export")

Source = Annotated[Path, typer.Argument(help="A checkpoint that `compress` wrote.", metavar="DIR")]
Output = Annotated[Path, typer.Option("-o", "--output", help="Where to write.", metavar="OUT")]
Force = Annotated[bool, typer.Option("--force", help="Replace an earlier output.")]
Json = Annotated[bool, typer.Option("--json", help="End with one JSON object on stdout.")]


@export.command()
def onnx(
    directory: Source,
    output: Output,
    precision: Annotated[str, typer.Option(help="fp32, fp16, bf16, int8 or int4.")] = "int4",
    provider: Annotated[str, typer.Option(help="cpu (fp32, int8, int4) or cuda.")] = "cpu",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """ONNX for ONNX Runtime and ONNX Runtime GenAI."""
    from ..export.to_onnx import OnnxConfig, export_onnx

    config = OnnxConfig(precision=precision, provider=provider)  # type: ignore[arg-type]
    with spinner("reading") as tell:
        record = export_onnx(directory, output, config, force=force, progress=tell)
    _show(record, output, as_json=as_json)


@export.command()
def gguf(
    directory: Source,
    output: Annotated[Path, typer.Option("-o", "--output", help="The file to write.", metavar="FILE")],
    type_: Annotated[str, typer.Option("--type", help="f32, f16, bf16, q8_0, q4_0 or q4_1.")] = "f16",
    fallback_f16: Annotated[
        bool, typer.Option("--fallback-f16", help="Keep matrices that do not divide into blocks in f16.")
    ] = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """One GGUF file for llama.cpp."""
    from ..export.to_gguf import GgufConfig, export_gguf

    config = GgufConfig(type=type_, fallback_f16=fallback_f16)  # type: ignore[arg-type]
    with spinner("reading") as tell:
        record = export_gguf(directory, output, config, force=force, progress=tell)
    _show(record, output, as_json=as_json)


@export.command()
def vllm(
    directory: Source,
    output: Output,
    dtype: Annotated[str, typer.Option(help="bfloat16, float16 or float32.")] = "bfloat16",
    quantize: Annotated[str, typer.Option(help="none, fp8, w8a8 or w4a16.")] = "none",
    group_size: Annotated[
        int | None, typer.Option(help="Weights per scale of w4a16; 32 if left out.")
    ] = None,
    shard_bytes: Annotated[int, typer.Option(help="Upper bound of one weight file.")] = 5_000_000_000,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """A checkpoint for vLLM in another dtype, or quantised."""
    from ..export.to_vllm import VllmConfig, export_vllm

    config = VllmConfig(
        dtype=dtype,  # type: ignore[arg-type]
        quantize=quantize,  # type: ignore[arg-type]
        group_size=group_size,
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
    }
    line = styled(str(output), "bold", f": {record.format} {record.precision}, {written_bytes / 1e6:,.1f} MB")
    emit(data, line, f"next: dotresize verify {output}", as_json=as_json)
