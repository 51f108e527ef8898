"""Options that belong together travel as one record: a dataclass whose fields are annotated options."""

import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, get_type_hints

from ..printed.output import set_loudness
from .run import Quiet, Verbose

__all__ = ["grouped", "with_loudness"]


def grouped(function: Callable[..., None]) -> Callable[..., None]:
    """Let Typer see a field of each option group where the function has one parameter for the group.

    Args:
        function: A command; parameters that are annotated with a dataclass are groups.

    Returns:
        A function that takes all options by name, builds the groups, and calls the command.
    """
    groups: dict[str, type[Any]] = {}
    seen: list[inspect.Parameter] = []
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        if is_dataclass(parameter.annotation) and isinstance(parameter.annotation, type):
            groups[parameter.name] = parameter.annotation
            seen += _options(parameter.annotation)
        else:
            seen.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

    def command(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{each.name: values.pop(each.name) for each in fields(group)})
        function(**values)

    command.__name__, command.__doc__ = function.__name__, function.__doc__
    command.__signature__ = inspect.Signature(seen)  # type: ignore[attr-defined]
    return command


def with_loudness(function: Callable[..., None]) -> Callable[..., None]:
    """The command with --quiet and --verbose, which take effect before it runs.

    Args:
        function: A command; what it is annotated with stays.
    """
    ours = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=annotation)
        for name, annotation in (("quiet", Quiet), ("verbose", Verbose))
    ]
    seen = [
        each.replace(kind=inspect.Parameter.KEYWORD_ONLY)
        for each in inspect.signature(function, eval_str=True).parameters.values()
    ]

    def command(*, quiet: bool, verbose: bool, **values: Any) -> None:
        set_loudness(quiet=quiet, verbose=verbose)
        function(**values)

    command.__name__, command.__doc__ = function.__name__, function.__doc__
    command.__signature__ = inspect.Signature([*seen, *ours])  # type: ignore[attr-defined]
    return command


def _options(group: type[Any]) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            each.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if each.default is MISSING else each.default,
            annotation=hints[each.name],
        )
        for each in fields(group)
    ]
