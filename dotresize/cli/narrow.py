"""`dotresize compress`: model + text -> a narrower stock model with its measured perplexity."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import app
from .output import emit, error_console, quiet_libraries

if TYPE_CHECKING:
    from ..compress.config import CompressConfig
    from ..compress.run import CompressResult
    from ..compress.source import DenseModel

_WIDTHS, _METHOD, _CALIBRATION, _RUN = "New widths", "Method", "Calibration and evaluation", "Run"


@app.command("compress", rich_help_panel="Compress")
def compress_command(
    model: Annotated[
        str, typer.Argument(help="Hugging Face directory, hub id, .gguf file, or demo:smollm2-135m.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Directory to write; must not exist.")],
    width: Annotated[
        float | None, typer.Option(help="New hidden size as a fraction, e.g. 0.8.", rich_help_panel=_WIDTHS)
    ] = None,
    hidden_size: Annotated[
        int | None, typer.Option(help="New hidden size, exactly.", rich_help_panel=_WIDTHS)
    ] = None,
    mlp_width: Annotated[
        float | None, typer.Option(help="New MLP width as a fraction, e.g. 0.75.", rich_help_panel=_WIDTHS)
    ] = None,
    intermediate_size: Annotated[
        int | None, typer.Option(help="New MLP width, exactly.", rich_help_panel=_WIDTHS)
    ] = None,
    method: Annotated[
        str, typer.Option(help="Residual basis: dot, magnitude, pca or pca+dot.", rich_help_panel=_METHOD)
    ] = "pca",
    mlp_method: Annotated[
        str, typer.Option(help="MLP neurons: dot or magnitude.", rich_help_panel=_METHOD)
    ] = "magnitude",
    compensate: Annotated[
        str, typer.Option(help="Closed-form fits: none, readout or full.", rich_help_panel=_METHOD)
    ] = "full",
    reg: Annotated[
        float, typer.Option(help="Entropic regularisation of transport; 0 is exact.", rich_help_panel=_METHOD)
    ] = 0.01,
    signed: Annotated[
        bool, typer.Option(help="Let a neuron merge with another's negative.", rich_help_panel=_METHOD)
    ] = True,
    mass: Annotated[
        str, typer.Option(help="MLP transport marginals: energy or uniform.", rich_help_panel=_METHOD)
    ] = "uniform",
    ridge_tokens: Annotated[
        float, typer.Option(help="The unfitted weights count as this many tokens.", rich_help_panel=_METHOD)
    ] = 1600.0,
    neuron_steps: Annotated[
        int, typer.Option(help="Gauss-Newton steps on gate and up; 0: none.", rich_help_panel=_METHOD)
    ] = 1,
    calibration: Annotated[
        str,
        typer.Option(
            help="builtin, a .txt/.jsonl/.parquet file, or hf:NAME[:CONFIG].", rich_help_panel=_CALIBRATION
        ),
    ] = "builtin",
    calibration_windows: Annotated[
        int | None,
        typer.Option(
            help="Number of windows [default: 128, or what the text allows].", rich_help_panel=_CALIBRATION
        ),
    ] = None,
    window_tokens: Annotated[
        int, typer.Option(help="Tokens per window.", rich_help_panel=_CALIBRATION)
    ] = 1024,
    evaluation: Annotated[
        str,
        typer.Option(
            help="Text for the perplexities: builtin, a file, hf:NAME, or none.", rich_help_panel=_CALIBRATION
        ),
    ] = "builtin",
    evaluation_windows: Annotated[
        int, typer.Option(help="Windows to evaluate at most.", rich_help_panel=_CALIBRATION)
    ] = 8,
    dtype: Annotated[
        str, typer.Option(help="Stored dtype: auto, float32, bfloat16 or float16.", rich_help_panel=_RUN)
    ] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.", rich_help_panel=_RUN)] = "auto",
    seed: Annotated[int, typer.Option(help="Draws the calibration windows.", rich_help_panel=_RUN)] = 42,
    force: Annotated[bool, typer.Option("--force", help="Replace OUTPUT.", rich_help_panel=_RUN)] = False,
    trust_remote_code: Annotated[
        bool,
        typer.Option("--trust-remote-code", help="Run code that comes with the model.", rich_help_panel=_RUN),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="End stdout with one JSON object.", rich_help_panel=_RUN)
    ] = False,
) -> None:
    """Narrow a model and write it as a stock checkpoint, with its perplexity beside the original's.

    An interrupted run resumes when the same command is given again.
    """
    from ..compress.config import CompressConfig

    config = CompressConfig(
        width=width,
        hidden_size=hidden_size,
        mlp_width=mlp_width,
        intermediate_size=intermediate_size,
        method=method,  # type: ignore[arg-type]  # CompressConfig checks the choices below
        mlp_method=mlp_method,  # type: ignore[arg-type]
        compensate=compensate,  # type: ignore[arg-type]
        reg=reg,
        signed=signed,
        mass=mass,  # type: ignore[arg-type]
        ridge_tokens=ridge_tokens,
        neuron_steps=neuron_steps,
        calibration=calibration,
        calibration_windows=calibration_windows,
        window_tokens=window_tokens,
        dtype=dtype,
        device=device,
        seed=seed,
        trust_remote_code=trust_remote_code,
    )
    run_compress(
        model,
        output,
        config,
        evaluation=evaluation,
        evaluation_windows=evaluation_windows,
        force=force,
        as_json=as_json,
    )


def run_compress(
    model: str,
    output: Path,
    config: "CompressConfig",
    *,
    evaluation: str,
    evaluation_windows: int,
    force: bool,
    as_json: bool,
) -> None:
    """Load, narrow, measure, write, show: the body of `dotresize compress`."""
    quiet_libraries()
    from ..compress.run import compress
    from ..compress.source import load_dense
    from ..export.checkpoint import save
    from ..export.staging import check_free
    from .progress import ProgressBar
    from .tables import compression_tables

    check_free(output, force=force)
    _refuse_same_text(config.calibration, evaluation)
    error_console().print(f"loading {model}")
    dense = load_dense(model, trust_remote_code=config.trust_remote_code)
    with ProgressBar() as progress:
        result = compress(
            dense, config, progress=progress, work_directory=output.with_name(output.name + ".partial")
        )
        quality = None
        if evaluation != "none":
            quality = _measure(dense, result, evaluation, evaluation_windows, config.window_tokens, progress)
    save(result, output, quality=quality, force=force)
    data = {
        "output": str(output),
        "report": result.report.to_dict(),
        "quality": quality,
        "seconds": result.cost.seconds,
        "peak_memory_bytes": result.cost.peak_memory_bytes,
        "peak_device_memory_bytes": result.cost.peak_device_memory_bytes,
        "device": result.cost.device,
    }
    emit(data, *compression_tables(result.report, result.cost, quality, output), as_json=as_json)


def _refuse_same_text(calibration: str, evaluation: str) -> None:
    """`builtin` and hub datasets have two halves; a file is one text and must not serve for both."""
    from ..errors import OptionError

    files = [Path(text) for text in (calibration, evaluation)]
    if all(file.is_file() for file in files) and files[0].samefile(files[1]):
        raise OptionError(
            f"{evaluation} was given for calibration and for evaluation; a perplexity on text that was "
            "calibrated on says little, so name another --evaluation (builtin, another file, or none)."
        )


def _measure(
    dense: "DenseModel", result: "CompressResult", text: str, limit: int, window_tokens: int, progress: Any
) -> dict[str, Any]:
    from ..bench.perplexity import measure_perplexity, quality_record
    from ..compress.calibration import leading_windows

    windows = leading_windows(text, dense.tokenizer, at_most=limit, window_tokens=window_tokens)
    qualities = measure_perplexity({"dense": dense.model, "narrow": result.model}, windows, progress=progress)
    return quality_record(qualities, windows)
