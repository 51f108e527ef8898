"""Where an output goes beside the disk."""

from dataclasses import dataclass
from typing import Annotated

import typer

__all__ = ["HubOptions"]

_PANEL = "Hub"

PushToHub = Annotated[
    str | None,
    typer.Option(
        help="Also upload the output to the Hugging Face hub as OWNER/NAME; private.",
        metavar="NAME",
        rich_help_panel=_PANEL,
    ),
]
Public = Annotated[
    bool,
    typer.Option("--public", help="Let anybody read what is pushed to the hub.", rich_help_panel=_PANEL),
]


@dataclass(frozen=True, kw_only=True)
class HubOptions:
    """Of `compress` and `recover`."""

    push_to_hub: PushToHub = None
    public: Public = False
