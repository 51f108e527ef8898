"""The `dotresize` command: its commands, in the order in which `--help` lists them."""

from typing import Annotated

import typer

from ..version import __version__
from .adapter import adapter
from .asked.gate import Program
from .bench import bench
from .chat import chat
from .export import export
from .help import help_command
from .info import info
from .last_resort import run_to_the_end
from .narrowing.compress import compress_command
from .plan import plan_command
from .quality import perplexity_command
from .recover import recover
from .serve import serve
from .sweep import sweep
from .tasks import tasks_command
from .verify import verify

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


app.command("compress", rich_help_panel="Compress")(compress_command)
app.command("plan", rich_help_panel="Compress")(plan_command)
app.command("recover", rich_help_panel="Compress")(recover)
app.command("adapter", rich_help_panel="Compress")(adapter)
app.command("verify", rich_help_panel="Check")(verify)
app.command("info", rich_help_panel="Check")(info)
app.add_typer(export, name="export", rich_help_panel="Export and serve")
app.command("serve", rich_help_panel="Export and serve")(serve)
app.command("chat", rich_help_panel="Export and serve")(chat)
app.command("perplexity", rich_help_panel="Measure")(perplexity_command)
app.command("bench", rich_help_panel="Measure")(bench)
app.command("sweep", rich_help_panel="Measure")(sweep)
app.command("tasks", rich_help_panel="Measure")(tasks_command)
app.command("help", rich_help_panel="Help")(help_command)


def main(program: typer.Typer = app) -> None:
    """Run the command line; one-line errors, honest exit codes."""
    run_to_the_end(program)
