"""Where the command line prints: people read tables, programs read the last line of stdout.

Names are data. Consoles made here print plain text as it is: no markup, no emoji codes, and a control
character as its escape. What shall be styled is a `Text`, or printed with `style=`.
"""

import json
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ...errors import OptionError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

__all__ = [
    "DEBUG",
    "BrokenPipe",
    "emit",
    "error_console",
    "no_bars",
    "note_console",
    "printable",
    "quiet_libraries",
    "set_loudness",
    "spinner",
    "styled",
    "warn",
]

DEBUG = "DOTRESIZE_DEBUG"
_QUIET = "DOTRESIZE_QUIET"  # for commands that a command starts


class BrokenPipe(Exception):
    """Nobody reads a pipe any more; the cause says more."""


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def printable(text: str) -> str:
    """Text without control characters (line ends and tabs stay): a name cannot move the cursor."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _console(*, stderr: bool) -> "Console":
    from rich.console import Console

    class PlainConsole(Console):
        def render_str(self, text: str, **how: Any) -> "Text":
            return super().render_str(printable(text), **how)

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # `main` knows what to do

    return PlainConsole(stderr=stderr, markup=False, emoji=False)


def error_console() -> "Console":
    """A console on stderr: progress, warnings and errors."""
    return _console(stderr=True)


def note_console() -> "Console":
    """A console on stderr for what --quiet leaves out: progress, and what goes on."""
    console = error_console()
    console.quiet = bool(os.environ.get(_QUIET))
    return console


def set_loudness(*, quiet: bool, verbose: bool) -> None:
    """What --quiet and --verbose ask for, in this process and in those that it starts.

    Raises:
        OptionError: both.
    """
    if quiet and verbose:
        raise OptionError("--quiet and --verbose were both given; give one of them")
    if quiet:
        os.environ[_QUIET] = "1"
    if verbose:
        os.environ[DEBUG] = "1"
        logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(name)s: %(message)s")
    no_bars()


def styled(text: str, style: str, rest: str = "") -> "Text":
    """Text in a style, then the rest without."""
    from rich.text import Text

    return Text.assemble((printable(text), style), printable(rest))


def warn(console: "Console", text: str) -> None:
    """One line that starts with "warning:"."""
    console.print(styled("warning:", "yellow", f" {text}"), highlight=False, soft_wrap=True)


@contextmanager
def spinner(first: str, console: "Console | None" = None) -> Iterator[Callable[[str], None]]:
    """Show what is being done while the block runs; yields what changes the text."""
    from rich.text import Text

    with (console or note_console()).status(Text(printable(first))) as status:
        yield lambda text: status.update(Text(printable(text)))


def emit(data: dict[str, Any], *renderables: "RenderableType", as_json: bool) -> None:
    """Show a result: with `as_json`, tables go to stderr and one JSON object ends stdout."""
    console = _console(stderr=as_json)
    for renderable in renderables:
        if isinstance(renderable, str):
            console.print(renderable, highlight=False, soft_wrap=True)
        else:
            console.print(renderable)
    if as_json:
        sys.stdout.write(json.dumps(data, sort_keys=True) + "\n")
        sys.stdout.flush()


def quiet_libraries() -> None:
    """Keep the progress bars and hints of transformers off the screen; ours say what matters.

    With --verbose, or DOTRESIZE_DEBUG, they stay.
    """
    no_bars()
    if os.environ.get(DEBUG):
        return
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


def no_bars() -> None:
    """Keep tqdm's bars off the screen, which reads a variable when torch imports it.

    So this has to come before torch does; the bars of reading a GGUF file have no other switch. With
    DOTRESIZE_DEBUG they stay.
    """
    if not os.environ.get(DEBUG):
        os.environ.setdefault("TQDM_DISABLE", "1")
