"""`dotresize help [COMMAND]`: what --help says."""

import difflib
from typing import Annotated, Any

import typer

__all__ = ["help_command"]


def help_command(
    context: typer.Context,
    command: Annotated[
        list[str] | None, typer.Argument(help="A command, such as `compress` or `export onnx`.")
    ] = None,
) -> None:
    """Show the help of a command."""
    from ..errors import OptionError

    assert context.parent is not None  # a command of the program
    found: Any = context.parent
    for name in command or []:
        known = getattr(found.command, "commands", {})
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(known)}."
            raise OptionError(f"{found.command_path} has no command {name!r}; {hint}")
        found = known[name].make_context(name, [], parent=found, resilient_parsing=True)
    typer.echo(found.get_help())
