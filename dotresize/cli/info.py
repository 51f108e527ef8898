"""`dotresize info`."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from .options.run import Json
from .printed.output import emit


def info(
    path: Annotated[Path, typer.Argument(help="A model directory or a .gguf file, ours or foreign.")],
    as_json: Json = False,
) -> None:
    """Say what an artefact is: format, widths, size, where it came from, whether it is verified."""
    from rich.table import Table

    from ..export.artefact_info import inspect_artefact

    found = inspect_artefact(path)
    table = Table(show_header=False)
    table.add_row(
        "format", f"{found.format} {found.precision}" + ("" if found.ours else " (not made by dotresize)")
    )
    table.add_row("architecture", found.architecture)
    for name, width in found.widths.items():
        table.add_row(name.replace("_", " "), f"{width:,}")
    table.add_row("parameters", "not stated" if found.parameters is None else f"{found.parameters:,}")
    table.add_row("weight bytes", f"{found.weight_bytes:,}")
    table.add_row("provenance", "\n".join(found.provenance) or "unknown")
    table.add_row("verification", found.verification)
    emit(asdict(found), table, as_json=as_json)
