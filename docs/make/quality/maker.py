"""`python -m docs.make.quality` (`make bench-quality`): methods x texts on one model."""

from pathlib import Path
from typing import Annotated

import typer

from dotresize.cli.asked.lists import number_or_fraction
from dotresize.cli.options.run import Seed
from dotresize.cli.options.texts import CALIBRATION_WINDOWS, EvaluationWindows, WindowTokens
from dotresize.cli.options.widths import HiddenSize, IntermediateSize
from dotresize.cli.printed.output import quiet_libraries

from ..domains.maker import WIKITEXT

COMMAND = "make bench-quality"


def bench_quality(
    model: Annotated[str, typer.Option(help="MODEL to narrow.")] = "demo:smollm2-135m",
    hidden_size: HiddenSize = "0.8",
    intermediate_size: IntermediateSize = "0.6666666666666666",
    texts: Annotated[
        Path,
        typer.Option(help="Where the texts of all kinds are, or go: see python -m docs.make.domains."),
    ] = Path("build/domains"),
    wikitext: Annotated[Path, typer.Option(help="Directory with valid.txt and test.txt.")] = WIKITEXT,
    calibration_windows: Annotated[int, CALIBRATION_WINDOWS] = 32,
    window_tokens: WindowTokens = 512,
    evaluation_windows: EvaluationWindows = 2,
    evaluation_window_tokens: Annotated[int, typer.Option(help="Tokens per evaluation window.")] = 1024,
    seed: Seed = 42,
    quick: Annotated[
        bool, typer.Option("--quick", help="Only the methods that all calibrations have.")
    ] = False,
    rows: Annotated[
        list[str] | None,
        typer.Option(
            help="Only rows whose label holds this, as in 'mlp: magnitude, full' or 'none'; repeatable."
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option("-o", help="Markdown page; its numbers and plot go to .json and .svg beside it.")
    ] = Path("docs/QUALITY.md"),
) -> None:
    """Measure and write the page; an interrupted run, or one of other rows, goes on where it stopped."""
    from dotresize.cli.printed.progress import ProgressBar

    from ..domains.suite import evaluation_files, left_out, write_domains
    from .page import render
    from .plot import quality_svg
    from .rows import Setting
    from .run import run_quality
    from .texts import calibrations_at, self_text_file

    quiet_libraries()
    with ProgressBar() as progress:
        sources = write_domains(texts, wikitext, progress)
        for line in left_out(sources):
            typer.echo(line, err=True)
        self_text = self_text_file(texts, calibration_windows * window_tokens, seed)
        setting = Setting(
            model=model,
            width=float(number_or_fraction("hidden-size", hidden_size) or 0),
            mlp_width=float(number_or_fraction("intermediate-size", intermediate_size) or 0),
            calibrations=calibrations_at(texts, self_text),
            calibration_windows=calibration_windows,
            window_tokens=window_tokens,
            texts=[str(file) for file in evaluation_files(texts).values()],
            evaluation_windows=evaluation_windows,
            evaluation_window_tokens=evaluation_window_tokens,
            seed=seed,
        )
        results = run_quality(
            setting,
            output.with_suffix(".json"),
            progress,
            sources=sources,
            quick=quick,
            only=tuple(rows or ()),
        )
    output.with_suffix(".svg").write_text(quality_svg(results), encoding="utf-8")
    output.write_text(render(results, COMMAND, f"{output.stem}.svg"), encoding="utf-8")
    typer.echo(f"written: {output}")
