"""`dotresize bench`: original against narrow, measured side by side; and one result file against another."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from . import app
from .gate import given
from .lists import names, numbers, words
from .output import emit, error_console, quiet_libraries, styled, warn

if TYPE_CHECKING:
    from ..bench.record.results import Results
    from ..bench.record.settings import BenchSettings, Scenario

__all__ = ["bench"]

COMPARE_OPTIONS = ("models", "compare", "fail_above", "as_json")


@app.command(rich_help_panel="Measure")
def bench(
    context: typer.Context,
    models: Annotated[
        list[str],
        typer.Argument(metavar="ORIGINAL NARROW...", help="With --compare: two results files, old and new."),
    ],
    engine: Annotated[
        Literal["vllm", "onnx", "transformers"], typer.Option(help="What you will deploy with.")
    ] = "vllm",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Directory for results.json and the report.")
    ] = None,
    scenarios: Annotated[
        str,
        typer.Option(
            help="Of latency,throughput,online,memory,quality,speculative; default: all but the last."
        ),
    ] = "",
    speculative: Annotated[
        bool,
        typer.Option(
            "--speculative", help="Measure ORIGINAL with each NARROW as its draft: the same text, faster?"
        ),
    ] = False,
    draft_tokens: Annotated[str, typer.Option(help="Tokens drafted per step, speculative.")] = "1,2,4",
    input_tokens: Annotated[int, typer.Option(help="Prompt length.")] = 128,
    output_tokens: Annotated[int, typer.Option(help="Tokens generated, always that many.")] = 128,
    batch_sizes: Annotated[str, typer.Option(help="Of the latency scenario.")] = "1,8,32",
    concurrency: Annotated[str, typer.Option(help="Requests in flight, online.")] = "1,4,16",
    requests: Annotated[int, typer.Option(help="Requests of the throughput scenario.")] = 64,
    rounds: Annotated[int, typer.Option(help="How often every model is measured, in turn.")] = 5,
    repeats: Annotated[
        int, typer.Option(help="Timed repetitions within a round; speculative: prompts of each text.")
    ] = 3,
    warmup: Annotated[int, typer.Option(help="Untimed repetitions before them.")] = 1,
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16", "float16"], typer.Option(help="vllm and transformers.")
    ] = "auto",
    precision: Annotated[
        Literal["fp32", "fp16", "bf16", "int8", "int4"],
        typer.Option(help="Checkpoints are exported in this precision first (onnx engine)."),
    ] = "fp32",
    device: Annotated[Literal["auto", "cpu", "cuda"], typer.Option(help="Where to run.")] = "auto",
    vllm_flags: Annotated[str, typer.Option(help="Passed on to vLLM, e.g. '--max-num-seqs 8'.")] = "",
    data: Annotated[str, typer.Option(help="Evaluation text: builtin, FILE or hf:NAME.")] = "builtin",
    windows: Annotated[int, typer.Option(help="Windows of evaluation text at most.")] = 16,
    window_tokens: Annotated[int, typer.Option(help="Tokens per window.")] = 512,
    tasks: Annotated[str, typer.Option(help="lm-eval tasks, separated by commas.")] = "",
    task_directory: Annotated[Path | None, typer.Option(help="Directory with local task files.")] = None,
    task_limit: Annotated[int | None, typer.Option(help="Documents per task at most.")] = None,
    seed: Annotated[int, typer.Option(help="Token ids, and the order of the models.")] = 42,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an older report.")] = False,
    compare: Annotated[
        bool, typer.Option("--compare", help="Compare two results files instead of measuring.")
    ] = False,
    fail_above: Annotated[
        str | None, typer.Option(help="With --compare: exit 1 when something got worse by more, e.g. 5%.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="End stdout with one JSON object.")] = False,
) -> None:
    """Measure what narrowing gains and costs: speed, memory and quality, side by side."""
    from ..bench.record.settings import BenchSettings
    from ..errors import OptionError

    if compare:
        extra = [name for name in given(context) if name not in COMPARE_OPTIONS]
        if extra:
            raise OptionError(
                f"--{extra[0].replace('_', '-')} cannot take effect with --compare; leave it out"
            )
        _compare(models, fail_above, as_json=as_json)
        return
    if fail_above is not None:
        raise OptionError("--fail-above takes effect with --compare only")
    if output is None:
        raise OptionError("name a directory for the report with -o")
    settings = BenchSettings(
        engine=engine,
        scenarios=_scenarios(names(scenarios), speculative=speculative),
        draft_tokens=numbers("draft-tokens", draft_tokens),
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        batch_sizes=numbers("batch-sizes", batch_sizes),
        concurrency=numbers("concurrency", concurrency),
        requests=requests,
        rounds=rounds,
        repeats=repeats,
        warmup=warmup,
        dtype=dtype,
        device=device,
        precision=precision,
        engine_flags=words("vllm-flags", vllm_flags),
        seed=seed,
        text=data,
        text_windows=windows,
        text_window_tokens=window_tokens,
        tasks=names(tasks),
        task_directory=str(task_directory) if task_directory else None,
        task_limit=task_limit,
    )
    settings.check_effect()
    if resume and force:
        raise OptionError("--resume keeps what --force replaces; give one of them")
    _run(models, settings, output, resume=resume, force=force, as_json=as_json)


def _scenarios(named: tuple[str, ...], *, speculative: bool) -> "tuple[Scenario, ...]":
    """What was named, and the drafts; with --speculative alone nothing else is measured."""
    added = ("speculative",) if speculative and "speculative" not in named else ()
    return (*named, *added)


def _run(
    models: list[str], settings: "BenchSettings", output: Path, *, resume: bool, force: bool, as_json: bool
) -> None:
    from dataclasses import asdict

    from .progress import ProgressBar

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
    from .tables_bench import changes_table

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
