"""`python -m dotresize.cli.bench_quality` (`make bench-quality`): every method side by side on one model."""

from pathlib import Path
from typing import Annotated

import typer

from .output import quiet_libraries

WIKITEXT = Path("../shared/data/wikitext-2")  # beside the checkout, where a developer keeps it


def bench_quality(
    model: Annotated[str, typer.Option(help="MODEL to narrow.")] = "demo:smollm2-135m",
    width: Annotated[float, typer.Option(help="Hidden width of the hidden rows.")] = 0.8,
    mlp_width: Annotated[float, typer.Option(help="MLP width of the MLP rows.")] = 2 / 3,
    text: Annotated[
        Path,
        typer.Option(help="Directory with valid.txt to calibrate on and test.txt to measure; else builtin."),
    ] = WIKITEXT,
    calibration_windows: Annotated[int, typer.Option(help="Calibration windows.")] = 32,
    window_tokens: Annotated[int, typer.Option(help="Tokens per window.")] = 512,
    evaluation_windows: Annotated[int, typer.Option(help="Evaluation windows at most.")] = 16,
    evaluation_window_tokens: Annotated[int, typer.Option(help="Tokens per evaluation window.")] = 1024,
    seed: Annotated[int, typer.Option(help="Draws the calibration windows.")] = 42,
    output: Annotated[
        Path, typer.Option("-o", help="Markdown page; its numbers and plot go to .json and .svg beside it.")
    ] = Path("docs/QUALITY.md"),
) -> None:
    """Measure and write the page; an interrupted run goes on where it stopped."""
    from ..bench.quality import Setting, render, run_quality
    from ..bench.quality_plot import quality_svg
    from .progress import ProgressBar

    quiet_libraries()
    setting = Setting(
        model=model,
        width=width,
        mlp_width=mlp_width,
        calibration=str(text / "valid.txt") if text.is_dir() else "builtin",
        calibration_windows=calibration_windows,
        window_tokens=window_tokens,
        evaluation=str(text / "test.txt") if text.is_dir() else "builtin",
        evaluation_windows=evaluation_windows,
        evaluation_window_tokens=evaluation_window_tokens,
        seed=seed,
    )
    with ProgressBar() as progress:
        results = run_quality(setting, output.with_suffix(".json"), progress)
    output.with_suffix(".svg").write_text(quality_svg(results), encoding="utf-8")
    output.write_text(render(results, "make bench-quality", f"{output.stem}.svg"), encoding="utf-8")
    typer.echo(f"written: {output}")


if __name__ == "__main__":
    typer.run(bench_quality)
