"""How widths are reduced and repaired."""

from dataclasses import dataclass
from typing import Annotated

import typer

from .run import Effort

__all__ = ["Method", "MethodOptions"]

_PANEL = "Method"

Method = Annotated[
    str | None,
    typer.Option(
        help="Residual basis, with a hidden size: dot, magnitude, pca (default) or pca+dot; sweep takes "
        "several, as in pca,dot.",
        rich_help_panel=_PANEL,
    ),
]
MlpMethod = Annotated[
    str | None,
    typer.Option(
        help="MLP neurons, with an MLP width: dot, fisher, magnitude (default), magnitude+dot or nystrom.",
        rich_help_panel=_PANEL,
    ),
]
Compensate = Annotated[
    str, typer.Option(help="Closed-form fits: none, readout or full.", rich_help_panel=_PANEL)
]
Reg = Annotated[
    float | None,
    typer.Option(
        help="Entropic regularisation of transport; 0 is exact; default 0.01.", rich_help_panel=_PANEL
    ),
]
Signed = Annotated[
    bool | None,
    typer.Option(
        "--signed/--no-signed",
        help="Let a neuron merge with another's negative in a transport (default).",
        rich_help_panel=_PANEL,
    ),
]
Mass = Annotated[
    str | None,
    typer.Option(help="MLP transport marginals: energy or uniform (default).", rich_help_panel=_PANEL),
]
RidgeTokens = Annotated[
    float | None,
    typer.Option(
        help="The unfitted weights count as this many tokens; default 1600.", rich_help_panel=_PANEL
    ),
]
RidgeShare = Annotated[
    float | None,
    typer.Option(
        help="... and as this share of the calibration, for text of other kinds; default 0.3.",
        rich_help_panel=_PANEL,
    ),
]
NeuronSteps = Annotated[
    int | None,
    typer.Option(
        help="With full, Gauss-Newton steps on gate and up; 0: none; default by effort.",
        rich_help_panel=_PANEL,
    ),
]
StreamDtype = Annotated[
    str,
    typer.Option(
        help="Residual streams between layers: float32, or bfloat16 in half the room.",
        rich_help_panel=_PANEL,
    ),
]


@dataclass(frozen=True, kw_only=True)
class MethodOptions:
    """Of `compress`; None is the default of the method."""

    method: Method = None
    mlp_method: MlpMethod = None
    compensate: Compensate = "full"
    reg: Reg = None
    signed: Signed = None
    mass: Mass = None
    ridge_tokens: RidgeTokens = None
    ridge_share: RidgeShare = None
    effort: Effort = None
    neuron_steps: NeuronSteps = None
    stream_dtype: StreamDtype = "float32"
