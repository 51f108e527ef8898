"""`python -m docs.make.results`."""

import typer

from .maker import bench_results

typer.run(bench_results)
