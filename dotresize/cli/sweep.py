"""`dotresize sweep`: compress, verify and bench a grid of widths."""

import shlex
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from . import app
from .lists import fractions, names, numbers, words
from .output import emit, error_console, styled

if TYPE_CHECKING:
    from rich.table import Table

    from ..bench.sweep.grid import SweepSettings

__all__ = ["sweep"]

_GRID, _COMPRESS, _BENCH, _RUN = "Grid", "Compression", "Benchmark", "Run"


@app.command("sweep", rich_help_panel="Measure")
def sweep(
    model: Annotated[
        str, typer.Argument(help="Hugging Face directory, hub id, .gguf file, or demo:smollm2-135m.")
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="Every point gets a directory in it.")],
    hidden: Annotated[
        str, typer.Option(help="New hidden sizes as fractions, e.g. 0.9,0.8.", rich_help_panel=_GRID)
    ] = "",
    mlp: Annotated[
        str, typer.Option(help="New MLP widths as fractions, e.g. 0.9,0.75.", rich_help_panel=_GRID)
    ] = "",
    methods: Annotated[
        str,
        typer.Option(help="For the hidden widths: some of dot,magnitude,pca,pca+dot.", rich_help_panel=_GRID),
    ] = "pca",
    calibration: Annotated[
        str,
        typer.Option(help="builtin, a .txt/.jsonl/.parquet file, or hf:NAME.", rich_help_panel=_COMPRESS),
    ] = "builtin",
    calibration_windows: Annotated[
        int | None, typer.Option(help="Number of windows.", rich_help_panel=_COMPRESS)
    ] = None,
    window_tokens: Annotated[
        int, typer.Option(help="Tokens per calibration window.", rich_help_panel=_COMPRESS)
    ] = 1024,
    dtype: Annotated[
        str, typer.Option(help="Stored: auto, float32, bfloat16 or float16.", rich_help_panel=_COMPRESS)
    ] = "auto",
    evaluation: Annotated[
        str,
        typer.Option(
            help="Text for the perplexity in each model card: none, builtin, a file or hf:NAME.",
            rich_help_panel=_COMPRESS,
        ),
    ] = "none",
    runtime: Annotated[
        str, typer.Option(help="Which runtime verifies; see `dotresize verify`.", rich_help_panel=_COMPRESS)
    ] = "all",
    engine: Annotated[
        Literal["vllm", "onnx", "transformers"], typer.Option(help="Measured with.", rich_help_panel=_BENCH)
    ] = "vllm",
    scenarios: Annotated[
        str,
        typer.Option(
            help="Of latency,throughput,online,memory,quality; default: all.", rich_help_panel=_BENCH
        ),
    ] = "",
    input_tokens: Annotated[int, typer.Option(help="Prompt length.", rich_help_panel=_BENCH)] = 128,
    output_tokens: Annotated[int, typer.Option(help="Tokens generated.", rich_help_panel=_BENCH)] = 128,
    batch_sizes: Annotated[str, typer.Option(help="Offline latency.", rich_help_panel=_BENCH)] = "1,8,32",
    concurrency: Annotated[
        str, typer.Option(help="Requests in flight, online.", rich_help_panel=_BENCH)
    ] = "1,4,16",
    requests: Annotated[int, typer.Option(help="Of the throughput scenario.", rich_help_panel=_BENCH)] = 64,
    rounds: Annotated[
        int, typer.Option(help="How often every model is measured.", rich_help_panel=_BENCH)
    ] = 5,
    repeats: Annotated[
        int, typer.Option(help="Timed repetitions within a round.", rich_help_panel=_BENCH)
    ] = 3,
    precision: Annotated[
        Literal["fp32", "fp16", "bf16", "int8", "int4"],
        typer.Option(help="Of the ONNX exports, onnx engine.", rich_help_panel=_BENCH),
    ] = "fp32",
    bench_dtype: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"],
        typer.Option(help="vllm and transformers run in it.", rich_help_panel=_BENCH),
    ] = "auto",
    vllm_flags: Annotated[
        str, typer.Option(help="Passed on to vLLM, e.g. '--max-num-seqs 8'.", rich_help_panel=_BENCH)
    ] = "",
    data: Annotated[
        str, typer.Option(help="Evaluation text: builtin, FILE or hf:NAME.", rich_help_panel=_BENCH)
    ] = "builtin",
    windows: Annotated[
        int, typer.Option(help="Windows of evaluation text at most.", rich_help_panel=_BENCH)
    ] = 16,
    tasks: Annotated[
        str, typer.Option(help="lm-eval tasks, separated by commas.", rich_help_panel=_BENCH)
    ] = "",
    task_directory: Annotated[
        Path | None, typer.Option(help="Directory with local task files.", rich_help_panel=_BENCH)
    ] = None,
    device: Annotated[
        Literal["auto", "cpu", "cuda"],
        typer.Option(help="For compression and benchmark.", rich_help_panel=_RUN),
    ] = "auto",
    seed: Annotated[int, typer.Option(help="For compression and benchmark.", rich_help_panel=_RUN)] = 42,
    jobs: Annotated[
        int, typer.Option(min=1, help="Compressions at a time, per machine.", rich_help_panel=_RUN)
    ] = 1,
    executor: Annotated[
        Literal["local", "ray"],
        typer.Option(help="ray: a Ray cluster, or a local Ray where there is none.", rich_help_panel=_RUN),
    ] = "local",
    resume: Annotated[
        bool, typer.Option("--resume", help="Keep what is finished, do the rest.", rich_help_panel=_RUN)
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print every point's commands and stop.", rich_help_panel=_RUN)
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="End stdout with one JSON object.", rich_help_panel=_RUN)
    ] = False,
) -> None:
    """Compress, verify and bench every width of a grid; show which ones are worth shipping.

    The grid is (each --hidden or none) x (each --mlp or none) x (each method), without the point that changes
    nothing. Every point is a line of ordinary commands (see --dry-run), which any machine can run by hand.
    """
    from ..bench.record.settings import BenchSettings
    from ..bench.sweep.grid import SweepSettings
    from ..compress.config import CompressConfig

    settings = SweepSettings(
        model=model,
        directory=str(output),
        hidden=fractions("hidden", hidden),
        mlp=fractions("mlp", mlp),
        methods=names(methods),
        compress=CompressConfig(
            width=0.5,  # every point sets its own
            calibration=calibration,
            calibration_windows=calibration_windows,
            window_tokens=window_tokens,
            dtype=dtype,
            device=device,
            seed=seed,
        ),
        bench=BenchSettings(
            engine=engine,
            scenarios=names(scenarios),  # type: ignore[arg-type]
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            batch_sizes=numbers("batch-sizes", batch_sizes),
            concurrency=numbers("concurrency", concurrency),
            requests=requests,
            rounds=rounds,
            repeats=repeats,
            precision=precision,
            dtype=bench_dtype,
            engine_flags=words("vllm-flags", vllm_flags),
            text=data,
            text_windows=windows,
            tasks=names(tasks),
            task_directory=str(task_directory) if task_directory else None,
            device=device,
            seed=seed,
        ),
        evaluation=evaluation,
        runtime=runtime,
    )
    settings.bench.check_effect()
    if dry_run:
        _show_commands(settings, as_json=as_json)
        return
    _run(settings, jobs=jobs, executor=executor, resume=resume, as_json=as_json)


def _show_commands(settings: "SweepSettings", *, as_json: bool) -> None:
    from ..bench.sweep.grid import plan_points
    from ..bench.sweep.state import script

    points = plan_points(settings)
    data = {"points": {point.name: [step.command for step in point.steps] for point in points}}
    emit(data, as_json=True) if as_json else typer.echo(script(points), nl=False)


def _run(
    settings: "SweepSettings", *, jobs: int, executor: Literal["local", "ray"], resume: bool, as_json: bool
) -> None:
    from ..bench.sweep.run import run_sweep

    console = error_console()
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it otherwise
    command = shlex.join(["dotresize", *[word for word in sys.argv[1:] if word != "--resume"]])
    try:
        found = run_sweep(
            settings,
            command=command,
            jobs=jobs,
            executor=executor,
            resume=resume,
            tell=lambda line: console.print(line, markup=False, highlight=False, soft_wrap=True),
        )
    except KeyboardInterrupt:
        console.print("stopped; the same command with --resume goes on", markup=False)
        raise
    directory = Path(settings.directory)
    where = [directory / name for name in ("report.html", "sweep.md", "commands.sh")]
    lines = "\n".join(f"written: {path}" for path in where if path.is_file())
    emit(found, _table(found), lines, as_json=as_json)
    failed = [point for point in found["points"] if point["status"] == "failed"]
    for point in failed:
        why = f": {point['failed_step']} failed: {point['error']}"
        console.print(styled(point["name"], "bold red", why), highlight=False, soft_wrap=True)
    if failed:
        console.print(f"{len(failed)} of {len(found['points'])} points failed; --resume tries them again")
        raise typer.Exit(1)


def _table(found: dict[str, Any]) -> "Table":
    from rich.table import Table

    from ..bench.sweep.state import screen_table

    header, *rows = screen_table(found)
    shown = Table(title=f"Sweep of {found['model']}", title_justify="left", title_style="bold")
    for place, column in enumerate(header):
        shown.add_column(column, justify="right" if place else "left", no_wrap=not place)
    for cells in rows:
        shown.add_row(*cells, style="bold" if cells[-1] else None)
    return shown


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
