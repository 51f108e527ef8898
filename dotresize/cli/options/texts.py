"""Texts: what is fitted on, what is trained on, what is measured on."""

from dataclasses import dataclass
from typing import Annotated, Any

import typer

__all__ = [
    "CALIBRATION_WINDOWS",
    "Calibration",
    "CalibrationOptions",
    "CalibrationWindows",
    "Evaluation",
    "EvaluationWindows",
    "Text",
    "WindowTokens",
    "one_text",
]

_PANEL = "Text"
_KINDS = "a .txt/.jsonl/.parquet file, or hf:NAME[:CONFIG]"

Calibration = Annotated[
    list[str] | None,
    typer.Option(
        help=f"To fit on, or to round by: builtin, self, {_KINDS}; again for a mixture, as in A=0.7. "
        "Default builtin; of an export nothing.",
        rich_help_panel=_PANEL,
    ),
]
CALIBRATION_WINDOWS = typer.Option(
    help="Number of windows of the calibration; default 128, or what the text allows.", rich_help_panel=_PANEL
)
CalibrationWindows = Annotated[int | None, CALIBRATION_WINDOWS]
WindowTokens = Annotated[int, typer.Option(help="Tokens per window of text.", rich_help_panel=_PANEL)]
Evaluation = Annotated[
    list[str] | None,
    typer.Option(
        help=f"To measure on, never to fit on: builtin (default), {_KINDS}; again for more; or none.",
        rich_help_panel=_PANEL,
    ),
]
EvaluationWindows = Annotated[
    int | None,
    typer.Option(help="Windows of each text to measure on at most.", rich_help_panel=_PANEL),
]
Text = Annotated[
    list[str],
    typer.Option(
        help="To train on: self (the teacher writes it), builtin, FILE, hf:NAME, or TEXT=0.3 with a share; "
        "repeatable.",
        rich_help_panel=_PANEL,
    ),
]


@dataclass(frozen=True, kw_only=True)
class CalibrationOptions:
    """Of `compress`, `plan` and `sweep`."""

    calibration: Calibration = None
    calibration_windows: CalibrationWindows = None
    window_tokens: WindowTokens = 1024

    def chosen(self) -> dict[str, Any]:
        """By the fields of `CompressConfig`."""
        return {**vars(self), "calibration": tuple(self.calibration or ["builtin"])}


def one_text(command: str, evaluation: list[str] | None) -> str:
    """The text of a command that measures on one.

    Raises:
        OptionError: several were given.
    """
    from ...errors import OptionError

    if evaluation is not None and len(evaluation) > 1:
        raise OptionError(
            f"--evaluation was given {len(evaluation)} times, and {command} measures on one text; "
            "`dotresize perplexity` takes several."
        )
    return evaluation[0] if evaluation else "builtin"
