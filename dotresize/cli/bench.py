"""`dotresize bench`: original against narrow, measured side by side; and one result file against another."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .asked.bench_settings import bench_settings
from .asked.gate import given
from .asked.lists import names
from .options.bench import BenchOptions, Compare, FailAbove, Speculative
from .options.groups import grouped
from .options.run import ComputeOptions, Force, Json, OptionalOutput, Resume
from .options.texts import WindowTokens
from .printed.output import emit, error_console, quiet_libraries, styled, warn

if TYPE_CHECKING:
    from ..bench.record.results import Results
    from ..bench.record.settings import BenchSettings

__all__ = ["bench"]

COMPARE_OPTIONS = ("models", "compare", "fail_above", "as_json")


@grouped
def bench(
    context: typer.Context,
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="ORIGINAL NARROW...",
            help="MODEL@w8a8 (w4a16; ONNX: int8, int4) is quantised first, as a baseline. With --compare: "
            "two results files, old and new.",
        ),
    ],
    options: BenchOptions,
    compute: ComputeOptions,
    output: OptionalOutput = None,
    speculative: Speculative = False,
    window_tokens: WindowTokens = 512,
    resume: Resume = False,
    force: Force = False,
    compare: Compare = False,
    fail_above: FailAbove = None,
    as_json: Json = False,
) -> None:
    """Measure what narrowing gains and costs: speed, memory and quality, side by side."""
    from ..errors import OptionError

    if compare:
        _refuse_beside_compare(context)
        _compare(models, fail_above, as_json=as_json)
        return
    if fail_above is not None:
        raise OptionError("--fail-above takes effect with --compare only")
    if output is None:
        raise OptionError("name a directory for the report with -o")
    settings = bench_settings(
        "bench",
        options,
        dtype=compute.dtype,
        scenarios=_scenarios(names(options.scenarios), speculative=speculative),
        device=compute.device,
        seed=compute.seed,
        text_window_tokens=window_tokens,
    )
    if resume and force:
        raise OptionError("--resume keeps what --force replaces; give one of them")
    _run(models, settings, output, resume=resume, force=force, as_json=as_json)


def _refuse_beside_compare(context: typer.Context) -> None:
    from ..errors import OptionError

    extra = [name for name in given(context) if name not in COMPARE_OPTIONS]
    if extra:
        raise OptionError(f"--{extra[0].replace('_', '-')} cannot take effect with --compare; leave it out")


def _scenarios(named: tuple[str, ...], *, speculative: bool) -> tuple[str, ...]:
    """What was named, and the drafts; with --speculative alone nothing else is measured."""
    added = ("speculative",) if speculative and "speculative" not in named else ()
    return (*named, *added)


def _run(
    models: list[str], settings: "BenchSettings", output: Path, *, resume: bool, force: bool, as_json: bool
) -> None:
    from dataclasses import asdict

    from .printed.progress import ProgressBar

    quiet_libraries()
    from ..bench.run import run_bench

    command = shlex.join(
        ["dotresize", *[word for word in sys.argv[1:] if word not in ("--resume", "--force")]]
    )
    try:
        with ProgressBar() as progress:
            results = run_bench(
                models,
                settings,
                output,
                command=command,
                resume=resume,
                force=force,
                progress=progress,
            )
    except KeyboardInterrupt:
        error_console().print(f"interrupted: the same command with --resume goes on (kept in {output})")
        raise
    _show(results, output)
    if as_json:
        emit(asdict(results), as_json=True)
    failed = [each for each in results.measurements if each.status == "failed"]
    if failed:
        from ..errors import EngineError

        raise EngineError(
            f"{len(failed)} of {len(results.measurements)} measurements failed, the first: {failed[0].error}"
            f"; the report has the rest, --resume tries them again; logs: {output / 'work'}"
        )


def _show(results: "Results", output: Path) -> None:
    """Sentences first, then where the rest is."""
    console = error_console()
    for sentence in results.summary:
        console.print(sentence, style="bold", markup=False, highlight=False, soft_wrap=True)
    for warning in results.warnings:
        warn(console, warning)
    console.print(f"report: {output / 'report.html'}", markup=False, highlight=False, soft_wrap=True)


def _compare(paths: list[str], fail_above: str | None, *, as_json: bool) -> None:
    """Print every change; exit status 1 when one is worse than allowed."""
    from dataclasses import asdict

    from ..bench.judge.compare import compare, differences, exceeds, parse_fail_above
    from ..bench.record.results import read
    from ..errors import OptionError
    from .printed.tables_bench import changes_table

    if len(paths) != 2:
        raise OptionError(f"--compare takes two results files, old and new; {len(paths)} given")
    limit = None if fail_above is None else parse_fail_above(fail_above)
    old, new = (read(_results_file(path)) for path in paths)
    console = error_console()
    for difference in differences(old, new):
        warn(console, difference)
    changes = compare(old, new)
    if not changes:
        raise OptionError(f"{paths[0]} and {paths[1]} have no measurement in common; nothing to compare")
    exceeded = [] if limit is None else exceeds(changes, limit)
    data = {
        "changes": [asdict(change) for change in changes],
        "exceeded": [asdict(change) for change in exceeded],
        "fail_above": limit,
    }
    emit(data, changes_table(changes), as_json=as_json)
    if exceeded:
        console.print(styled(f"{len(exceeded)} got worse by more than {fail_above}", "bold red"))
        raise typer.Exit(1)


def _results_file(path: str) -> Path:
    """A results file, also when its directory is named."""
    found = Path(path)
    return found / "results.json" if found.is_dir() else found
