"""New widths: an option for each axis, named as in config.json where that has a name."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["Experts", "HiddenSize", "IntermediateSize", "KvGroups", "Layers", "Plan", "WidthOptions"]

_PANEL = "New widths"

HiddenSize = Annotated[
    str | None,
    typer.Option(
        help="The residual stream: a number, or a fraction such as 0.8; sweep takes several, as in 0.9,0.8.",
        rich_help_panel=_PANEL,
    ),
]
IntermediateSize = Annotated[
    str | None,
    typer.Option(
        help="The MLP: a number, or a fraction such as 0.75; sweep takes several, as in 0.9,0.75.",
        rich_help_panel=_PANEL,
    ),
]
KvGroups = Annotated[
    str | None,
    typer.Option(
        help="Key-value groups to keep, with their query heads: a number, or a fraction such as 0.5.",
        rich_help_panel=_PANEL,
    ),
]
Layers = Annotated[
    str | None,
    typer.Option(help="Whole layers to keep: a number, or a fraction such as 0.9.", rich_help_panel=_PANEL),
]
Experts = Annotated[
    str | None,
    typer.Option(
        help="Whole experts of each layer to keep: a number, or a fraction such as 0.75.",
        rich_help_panel=_PANEL,
    ),
]
Plan = Annotated[
    Path | None,
    typer.Option(help="The widths that `dotresize plan` chose: its file.", rich_help_panel=_PANEL),
]


@dataclass(frozen=True, kw_only=True)
class WidthOptions:
    """All axes, as they were typed."""

    hidden_size: HiddenSize = None
    intermediate_size: IntermediateSize = None
    kv_groups: KvGroups = None
    layers: Layers = None
    experts: Experts = None
