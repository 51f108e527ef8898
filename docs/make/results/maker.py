"""`python -m docs.make.results` (`make bench-results`): widths x engines, and docs/RESULTS.md.

Narrows SmolLM2 at several widths on both axes, benches every engine, and writes the page. Finished steps
are kept: an interrupted run goes on where it stopped when it is repeated.
"""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from dotresize.cli.demo import run

ORIGINAL = "demo:smollm2-135m"
WIDTHS = {
    "hidden-0.875": "--hidden-size 0.875",
    "hidden-0.75": "--hidden-size 0.75",
    "mlp-0.75": "--intermediate-size 0.75",
    "mlp-0.5": "--intermediate-size 0.5",
}
INT4_WIDTHS = (
    "mlp-0.75",
    "mlp-0.5",
)  # int4 works in blocks of 32, which hidden widths of 9 heads do not hold
LENGTHS = "--input-tokens 128 --output-tokens 64 --batch-sizes 1,8"
RUNS = {
    "vLLM on the CPU": ("vllm", "--engine vllm", tuple(WIDTHS)),
    "ONNX Runtime, fp32": ("onnx-fp32", "--engine onnx --dtype float32", tuple(WIDTHS)),
    "ONNX Runtime, int4": ("onnx-int4", "--engine onnx --dtype int4", INT4_WIDTHS),
}


def bench_results(
    folder: Annotated[Path, typer.Option(help="Models and reports.")] = Path("results-out"),
    page: Annotated[Path, typer.Option("-o", help="The page to write.")] = Path("docs/RESULTS.md"),
    rounds: Annotated[int, typer.Option(help="Rounds of every benchmark.")] = 3,
) -> None:
    """Narrow, measure, write the page. About an hour on two cores."""
    from dotresize.bench.record.results import read

    from .page import render_page

    for name, width in WIDTHS.items():
        if not (folder / name / "dotresize.json").is_file():
            _run(f"compress {ORIGINAL} -o {folder / name} {width} --calibration-windows 16")
    for report, options, names in RUNS.values():
        models = " ".join(str(folder / name) for name in names)
        again = "--resume" if (folder / report / "results.json").is_file() else ""
        scenarios = "--scenarios latency,memory,quality"
        _run(
            f"bench {ORIGINAL} {models} -o {folder / report} {options} {LENGTHS} {scenarios} "
            f"--rounds {rounds} {again}"
        )
    runs = {title: read(folder / report / "results.json") for title, (report, _, _) in RUNS.items()}
    page.write_text(render_page(runs, "make bench-results"), encoding="utf-8")
    typer.echo(f"written: {page}")


def _run(arguments: str) -> None:
    typer.echo(f"$ dotresize {arguments}", err=True)
    run(shlex.split(arguments))
