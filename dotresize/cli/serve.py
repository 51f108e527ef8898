"""`dotresize serve`: one command from a directory to a live, checked endpoint."""

import signal
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from .asked.api_key import read_api_key
from .asked.lists import number
from .options.groups import grouped
from .options.load import DraftTokens
from .options.run import Device, DryRun, Dtype, Engine, Json
from .options.serving import ApiKeyFile, EndpointOptions, LogFile
from .printed.output import emit, error_console, spinner, warn

if TYPE_CHECKING:
    from rich.console import Console

    from ..serve.endpoint import Endpoint
    from ..serve.engine.command import Command
    from ..serve.engine.options import ServeOptions

__all__ = ["serve"]

WATCH_SECONDS = 0.2


class _Stopped(Exception):
    """SIGTERM came."""


@grouped
def serve(
    directory: Annotated[
        Path, typer.Argument(metavar="DIR", help="Output of `dotresize compress` or `export`.")
    ],
    endpoint: EndpointOptions,
    engine_flags: Annotated[
        list[str] | None, typer.Argument(metavar="[-- VLLM_FLAGS...]", help="Passed on to vLLM as they are.")
    ] = None,
    engine: Engine = "auto",
    dtype: Dtype = "auto",
    device: Device = "auto",
    draft_tokens: DraftTokens = None,
    api_key_file: ApiKeyFile = None,
    log_file: LogFile = None,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Serve a model through an OpenAI-compatible HTTP endpoint until Ctrl-C."""
    from ..serve.endpoint import plan
    from ..serve.engine.options import ServeOptions

    options = ServeOptions(
        directory=directory,
        engine=engine,  # type: ignore[arg-type]  # ServeOptions checks the choices
        device=device,
        dtype=dtype,
        draft_tokens=None if draft_tokens is None else number("draft-tokens", draft_tokens),
        api_key=read_api_key(api_key_file),
        engine_flags=tuple(engine_flags or ()),
        log_path=log_file,
        **vars(endpoint),
    )
    command = plan(options, dry_run=dry_run)
    if dry_run:
        show_notes(error_console(), command)
        _answer(_as_data(command), command.shell_line, as_json=as_json)
        return
    _serve(command, options, as_json=as_json)


def _serve(command: "Command", options: "ServeOptions", *, as_json: bool) -> None:
    console = error_console()
    console.print(command.shell_line, style="dim", soft_wrap=True, markup=False, highlight=False)
    show_notes(console, command)
    signal.signal(signal.SIGTERM, _on_sigterm)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it otherwise
    try:
        _serve_until_stopped(command, options, console, as_json=as_json)
    except _Stopped:
        raise typer.Exit(128 + signal.SIGTERM) from None


def show_notes(console: "Console", command: "Command") -> None:
    """Show what was decided and what it costs."""
    for note in command.notes:
        console.print(f"  {note}", markup=False, highlight=False, soft_wrap=True)
    for warning in command.warnings:
        warn(console, warning)


def start_endpoint(command: "Command", options: "ServeOptions", console: "Console") -> "Endpoint":
    """Launch with a spinner, log lines above it."""
    from ..serve.endpoint import launch

    with spinner(f"starting {command.engine} for {command.model_name}", console):
        return launch(
            command,
            options,
            on_line=lambda text: console.print(f"  {text}", style="dim", markup=False, highlight=False),
            on_start=lambda path: console.print(f"  log: {path}", markup=False, highlight=False),
        )


def _serve_until_stopped(
    command: "Command", options: "ServeOptions", console: "Console", *, as_json: bool
) -> None:
    import time

    with start_endpoint(command, options, console) as endpoint:
        try:
            checked = endpoint.check or "not compared with a reference: " + (
                "the directory has none" if options.check else "--no-check"
            )
            console.print(f"  {checked}", markup=False, highlight=False)
            ready = f"ready: {endpoint.url}/v1  model {endpoint.model_name}  (Ctrl-C stops it)"
            facts = {"log": str(endpoint.log_path), "pid": endpoint.pid, "check": str(checked)}
            _answer(_as_data(command) | facts, ready, as_json=as_json)
            while True:
                endpoint.raise_if_ended()
                time.sleep(WATCH_SECONDS)
        except KeyboardInterrupt:  # whoever reads "ready" may press Ctrl-C before the loop begins
            console.print("stopping")
    console.print("stopped: no process of the engine is left")


def _answer(data: dict[str, object], line: str, *, as_json: bool) -> None:
    """One line for people, or one JSON object for programs, never wrapped."""
    if as_json:
        emit(data, as_json=True)
    else:
        typer.echo(line)


def _as_data(command: "Command") -> dict[str, object]:
    return {
        "engine": command.engine,
        "url": command.url,
        "model": command.model_name,
        "command": list(command.arguments),
        "settings": command.settings,
        "warnings": list(command.warnings),
    }


def _on_sigterm(number: int, frame: FrameType | None) -> None:
    raise _Stopped
