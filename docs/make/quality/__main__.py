"""`python -m docs.make.quality`."""

import typer

from .maker import bench_quality

typer.run(bench_quality)
