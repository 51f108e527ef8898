"""How a grid is gone through."""

from typing import Annotated, Literal

import typer

__all__ = ["BenchDtype", "CardEvaluation", "Executor", "Jobs"]

_PANEL = "Run"

BenchDtype = Annotated[
    str,
    typer.Option(
        help="--dtype of `dotresize bench` at every point; --dtype itself is what is stored.",
        rich_help_panel="Benchmark",
    ),
]
CardEvaluation = Annotated[
    str,
    typer.Option(help="Text for the perplexity in each model card, or none.", rich_help_panel="Text"),
]
Jobs = Annotated[
    int, typer.Option(min=1, help="Compressions at a time, per machine.", rich_help_panel=_PANEL)
]
Executor = Annotated[
    Literal["local", "ray"],
    typer.Option(help="ray: a Ray cluster, or a local Ray where there is none.", rich_help_panel=_PANEL),
]
