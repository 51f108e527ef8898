"""`dotresize sweep`: compress, verify and bench a grid of widths."""

import shlex
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Literal

import typer

from .asked.bench_settings import bench_settings
from .asked.lists import fractions, names
from .options.bench import BenchOptions
from .options.groups import grouped
from .options.method import Method
from .options.run import ComputeOptions, DryRun, Json, Model, Output, Resume, Runtime
from .options.sweep import BenchDtype, CardEvaluation, Executor, Jobs
from .options.texts import CalibrationOptions
from .options.widths import HiddenSize, IntermediateSize
from .printed.output import emit, error_console, note_console, styled

if TYPE_CHECKING:
    from rich.table import Table

    from ..bench.record.settings import BenchSettings
    from ..bench.sweep.grid import SweepSettings
    from ..compress.record.config import CompressConfig

__all__ = ["sweep"]


@grouped
def sweep(
    model: Model,
    output: Output,
    texts: CalibrationOptions,
    bench: BenchOptions,
    compute: ComputeOptions,
    hidden_size: HiddenSize = None,
    intermediate_size: IntermediateSize = None,
    method: Method = None,
    card_evaluation: CardEvaluation = "none",
    runtime: Runtime = "all",
    bench_dtype: BenchDtype = "auto",
    jobs: Jobs = 1,
    executor: Executor = "local",
    resume: Resume = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Compress, verify and bench every width of a grid; show which ones are worth shipping.

    The grid is (each --hidden-size or none) x (each --intermediate-size or none) x (each --method), but for
    the point that changes nothing. Every point is a line of ordinary commands, which --dry-run shows.
    """
    from ..bench.sweep.grid import SweepSettings

    settings = SweepSettings(
        model=model,
        directory=str(output),
        hidden=fractions("hidden-size", hidden_size or ""),
        mlp=fractions("intermediate-size", intermediate_size or ""),
        methods=names("pca" if method is None else method),
        compress=_compression(texts, compute),
        bench=_benchmark(bench, bench_dtype, compute),
        evaluation=card_evaluation,
        runtime=runtime,
    )
    if dry_run:
        _show_commands(settings, as_json=as_json)
        return
    _run(settings, jobs=jobs, executor=executor, resume=resume, as_json=as_json)


def _compression(texts: CalibrationOptions, compute: ComputeOptions) -> "CompressConfig":
    """Of every point, which sets its own widths."""
    from ..compress.record.config import CompressConfig

    return CompressConfig(width=0.5, **texts.chosen(), **vars(compute))


def _benchmark(bench: BenchOptions, dtype: str, compute: ComputeOptions) -> "BenchSettings":
    measured = names(bench.scenarios)
    return bench_settings(
        "sweep", bench, dtype=dtype, scenarios=measured, device=compute.device, seed=compute.seed
    )


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
            tell=lambda line: note_console().print(line, markup=False, highlight=False, soft_wrap=True),
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
