"""What the arguments of every command go through before the command runs, so that no command can forget it.

Names are data: a path may hold anything that a file system allows. What it cannot hold, or what no number
of ours can be, is refused here with the argument's own name.
"""

import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand

from ...errors import OptionError
from ..options.groups import with_loudness
from ..options.old_names import OldName, old_names_of
from ..printed.output import BrokenPipe, error_console

__all__ = ["Program", "check_value", "given"]

Command = TypeVar("Command", bound=Callable[..., Any])

PLACES = (
    "model",
    "models",
    "teacher",
    "text",
    "calibration",
    "evaluation",
    "card_evaluation",
    "target",
)  # text
LONGEST_NAME_BYTES, LONGEST_PATH_BYTES = 255, 4095  # of Linux
LARGEST = 2**63 - 1
SHOWN = 60  # characters of a refused value


class _OldOption:
    """Stands in the parser for an option under the name it had; `--help` does not show it."""

    def __init__(self, old: str, name: OldName, option: Any) -> None:
        self._old, self._name, self._option = old, name, option

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._option, attribute)

    def process(self, value: Any, state: Any) -> None:
        """Say what it is called now, and hand the value on."""
        error_console().print(
            f"{self._old} is called {self._name.option} now; the old name goes with the next release",
            highlight=False,
            soft_wrap=True,
        )
        self._option.process(self._name.changed(value), state)


class _CheckedCommand(TyperCommand):
    """A command whose arguments were checked."""

    def make_parser(self, ctx: Any) -> Any:
        """The parser, which knows the old names of options too."""
        parser: Any = super().make_parser(ctx)
        known = parser._long_opt  # noqa: SLF001  # there is no public way to an option that --help leaves out
        known.update(
            (old, _OldOption(old, name, known[name.option]))
            for old, name in old_names_of(self.name or "").items()
        )
        return parser

    def invoke(self, ctx: Any) -> Any:
        """Check what was given, then run the command."""
        for parameter in self.params:
            flag = parameter.opts[-1]
            option = flag if flag.startswith("-") else parameter.metavar or flag.upper()
            for value in _values(ctx.params.get(parameter.name or "")):
                is_place = isinstance(value, Path) or parameter.name in PLACES
                check_value(option, value, is_place=is_place)
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:  # or Typer would end with 1, whichever pipe it was
            raise BrokenPipe from error


class Program(typer.Typer):
    """A Typer whose commands check their arguments."""

    def command(
        self, name: str | None = None, *, cls: type[TyperCommand] | None = _CheckedCommand, **settings: Any
    ) -> Callable[[Command], Command]:
        """Register a command, with the options that every command has."""
        register = super().command(name, cls=cls, **settings)

        def registered(function: Command) -> Command:
            register(with_loudness(function))
            return function

        return registered


def given(context: typer.Context) -> list[str]:
    """Names of the parameters that the user typed."""
    sources = ((name, context.get_parameter_source(name)) for name in context.params)
    return [name for name, source in sources if source is not None and source.name == "COMMANDLINE"]


def check_value(option: str, value: object, *, is_place: bool) -> None:
    """Refuse a value that nothing of ours can take.

    Args:
        option: What the user calls it, e.g. "--seed".
        value: As it was parsed.
        is_place: Text that names a file, a directory or a model.

    Raises:
        OptionError: Not Unicode, not finite, out of 64 bits, or no possible path.
    """
    if isinstance(value, float) and not math.isfinite(value):
        raise OptionError(f"{option} is {value}; expected a finite number")
    if isinstance(value, int) and not -LARGEST <= value <= LARGEST:
        raise OptionError(f"{option} is {_shown(str(value))}; expected a whole number of at most 64 bits")
    if isinstance(value, str | Path):
        text = str(value)
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            raise OptionError(f"{option} is {_shown(text)}, which is not UTF-8; rename the file or directory")
        if "\0" in text:
            raise OptionError(f"{option} is {_shown(text)}; no name can hold a NUL character")
        if is_place:
            _check_place(option, text)


def _check_place(option: str, text: str) -> None:
    if not text:
        raise OptionError(f"{option} is empty; expected a name")
    longest = max(len(part.encode()) for part in text.split("/"))
    if longest > LONGEST_NAME_BYTES or len(text.encode()) > LONGEST_PATH_BYTES:
        raise OptionError(
            f"{option} is {_shown(text)}, which is too long: a name may have {LONGEST_NAME_BYTES} bytes, a "
            f"whole path {LONGEST_PATH_BYTES}"
        )
    if text.startswith("~") and os.path.expanduser(text) == text:  # noqa: PTH111  # Path's version raises
        raise OptionError(f"{option} is {_shown(text)}, and there is no such user's home directory")


def _values(value: object) -> Iterator[object]:
    if isinstance(value, list | tuple):
        yield from value
    elif value is not None:
        yield value


def _shown(text: str) -> str:
    quoted = ascii(text)
    return quoted if len(quoted) <= SHOWN else f"{quoted[:SHOWN]}..."
