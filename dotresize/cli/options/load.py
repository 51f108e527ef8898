"""How much is asked of a model that runs: requests, lengths, devices. In the words of vLLM."""

from typing import Annotated

import typer

__all__ = ["Concurrency", "DraftTokens", "MaxModelLen", "MaxTokens", "TensorParallelSize", "VllmFlags"]

_PANEL = "Load"

Concurrency = Annotated[
    str | None,
    typer.Option(
        help="Requests or sequences at a time; bench and sweep take several, as in 1,4,16.",
        rich_help_panel=_PANEL,
    ),
]
DraftTokens = Annotated[
    str | None,
    typer.Option(
        help="Tokens that a draft proposes before each check; bench takes several, as in 1,2,4.",
        rich_help_panel=_PANEL,
    ),
]
MaxTokens = Annotated[int, typer.Option(help="Longest answer.", rich_help_panel=_PANEL)]
MaxModelLen = Annotated[
    int | None, typer.Option(help="Tokens of prompt and answer together.", rich_help_panel=_PANEL)
]
TensorParallelSize = Annotated[
    int, typer.Option(help="Devices that split every layer.", rich_help_panel=_PANEL)
]
VllmFlags = Annotated[
    str, typer.Option(help="Passed on to vLLM, e.g. '--max-num-seqs 8'.", rich_help_panel=_PANEL)
]
