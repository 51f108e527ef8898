"""`dotresize verify`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options.run import Json, Runtime
from .printed.output import emit, spinner, styled

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

    from ..export.contract.manifest import Check, Manifest


def verify(
    output: Annotated[Path, typer.Argument(help="What `compress` or `export` wrote.", metavar="OUT")],
    runtime: Runtime = "all",
    as_json: Json = False,
) -> None:
    """Reopen an output with the real runtimes and compare it with its reference logits."""
    from ..export.proof.verify import verify as run

    with spinner("verifying") as tell:
        manifest = run(output, runtime=runtime, progress=tell)
    emit(_as_dict(manifest), _table(manifest), _verdict(manifest), as_json=as_json)
    if not manifest.verified:
        raise typer.Exit(1)


def _as_dict(manifest: "Manifest") -> dict[str, Any]:
    data = manifest.to_dict()
    return {"format": manifest.format, "passed": manifest.verified, "checks": data["verification"]}


def _table(manifest: "Manifest") -> "Table":
    from rich.table import Table

    table = Table("", "compared", "by", "measured (limit)", title=f"{manifest.format} {manifest.precision}")
    for check in manifest.verification:
        mark = styled("ok", "green") if check.passed else styled("MISS", "bold red")
        table.add_row(mark, check.name, check.runtime, _measured(check))
    return table


def _measured(check: "Check") -> str:
    numbers = ", ".join(_number(key, value, check.limits.get(key)) for key, value in check.measured.items())
    return "\n".join(part for part in (numbers, check.note) if part)


def _number(key: str, value: float | int | str, limit: float | int | None) -> str:
    shown = f"{value:.3g}" if isinstance(value, float) else str(value)
    return f"{key.replace('_', ' ')} {shown}" + (f" ({limit:g})" if limit is not None else "")


def _verdict(manifest: "Manifest") -> "Text":
    missed = sum(not check.passed for check in manifest.verification)
    if missed:
        counted = f"{missed} of {len(manifest.verification)} checks missed"
        return styled(counted, "bold red", ": do not use this output")
    return styled(f"all {len(manifest.verification)} checks passed", "bold green")
