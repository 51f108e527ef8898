"""How much is asked of a model that runs: requests, lengths, devices. In the words of vLLM."""

from typing import Annotated

import typer

__all__ = [
    "Concurrency",
    "DraftTokens",
    "MaxModelLen",
    "MaxTokens",
    "RequestRates",
    "SloTpotSeconds",
    "SloTtftSeconds",
    "TensorParallelSize",
    "VllmFlags",
]

_PANEL = "Load"

Concurrency = Annotated[
    str | None,
    typer.Option(
        help="Requests or sequences at a time; bench and sweep take several, as in 1,4,16.",
        rich_help_panel=_PANEL,
    ),
]
RequestRates = Annotated[
    str,
    typer.Option(
        help="Also let requests arrive at random, this many a second, ready or not, as in 0.5,1,2.",
        rich_help_panel=_PANEL,
    ),
]
SloTtftSeconds = Annotated[
    float | None,
    typer.Option(
        help="With --request-rates: a good request has its first token by then (goodput).",
        rich_help_panel=_PANEL,
    ),
]
SloTpotSeconds = Annotated[
    float | None,
    typer.Option(
        help="With --request-rates: a good request takes at most that for each further token.",
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
