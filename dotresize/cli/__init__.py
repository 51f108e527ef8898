"""The `dotresize` command. Files in this package parse and print; heavy imports are inside commands."""

from typing import Annotated

import typer

from ..version import __version__
from .gate import Program
from .last_resort import run_to_the_end

__all__ = ["app", "main"]

app = Program(
    name="dotresize",
    help="Make large language models narrower, and ship them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"dotresize {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Make large language models narrower, and ship them."""


def main(program: typer.Typer = app) -> None:
    """Run the command line; one-line errors, honest exit codes."""
    run_to_the_end(program)


# Each file below registers its commands on `app` when it is imported.
from . import compress  # noqa: E402, F401, I001
from . import plan  # noqa: E402, F401, I001
from . import recover  # noqa: E402, F401, I001
from . import quality  # noqa: E402, F401, I001
from . import verify  # noqa: E402, F401, I001
from . import export  # noqa: E402, F401, I001
from . import info  # noqa: E402, F401, I001
from . import serve  # noqa: E402, F401, I001
from . import chat  # noqa: E402, F401, I001
from . import bench  # noqa: E402, F401, I001
from . import sweep  # noqa: E402, F401, I001
from . import tasks  # noqa: E402, F401, I001
