"""`python -m docs.make.domains DIR` (part of `make bench-quality`): texts of many kinds."""

from pathlib import Path
from typing import Annotated

import typer

WIKITEXT = Path("../shared/data/wikitext-2")  # beside the checkout, where a developer keeps it


def domains(
    directory: Annotated[Path, typer.Argument(help="Where the texts go; what is there already is kept.")],
    text: Annotated[
        Path, typer.Option(help="Directory with WikiText-2 as valid.txt and test.txt.")
    ] = WIKITEXT,
) -> None:
    """Write NAME.calibration.jsonl and NAME.evaluation.jsonl for every domain, and sources.json."""
    from dotresize.cli.printed.progress import ProgressBar

    from .suite import left_out, write_domains

    with ProgressBar() as progress:
        records = write_domains(directory, text, progress)
    for line in left_out(records):
        typer.echo(line)
    for name, record in records.items():
        if "missing" not in record:
            counts = ", ".join(f"{half} {count}" for half, count in record["documents"].items())
            typer.echo(f"{name}: {record['source']} {record['version']} ({record['licence']}); {counts}")
