"""Recipes: a command's options as a YAML file, to be given again, changed, and shared.

A recipe is a mapping of options as the command calls them, or holds one under `settings`, beside words about
it. Arguments count too: `model: meta-llama/Llama-3.1-8B`. What is typed wins.
"""

import difflib
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import typer

from ...errors import OptionError
from ...foreign import reading
from ...version import __version__

__all__ = ["RECIPE_NAME", "apply_recipe", "recipe_text"]

RECIPE_NAME = "recipe.yaml"
_NEVER = (
    "output",
    "force",
    "dry_run",
    "as_json",
    "quiet",
    "verbose",
    "recipe",
    "help",
    "push_to_hub",
    "public",
)


def apply_recipe(context: typer.Context, named: str | None) -> str | None:
    """Let a recipe say what was not typed; the callback of an eager option, so before all others are read.

    Args:
        context: of the command.
        named: a file, or one that dotresize ships; `list` prints those and ends.

    Raises:
        OptionError: there is no such recipe, or it holds what is no option of this command.
    """
    if named is None or context.resilient_parsing:
        return named
    command = str(context.command.name)
    if named == "list":
        for name, file in _shipped(command).items():
            typer.echo(f"{name:<6} {_loaded(file, name).get('about', '')}")
        raise typer.Exit
    data = _loaded(_found(command, named), named)
    context.default_map = _checked(context, data.get("settings", data), named)
    return named


def _shipped(command: str) -> dict[str, Traversable]:
    """Name -> file of the recipes that come with a command, smallest model first."""
    folder = files(f"dotresize.{command}").joinpath("recipes")
    found = {
        file.name.removesuffix(".yaml"): file for file in folder.iterdir() if file.name.endswith(".yaml")
    }
    return dict(sorted(found.items(), key=lambda item: (item[0][-1] != "m", len(item[0]), item[0])))


def _found(command: str, named: str) -> Traversable:
    shipped = _shipped(command)
    if named in shipped:
        return shipped[named]
    file = Path(named).expanduser()
    if not file.is_file():
        raise OptionError(
            f"there is no recipe {named!r}; give a YAML file, or one of {', '.join(shipped)} "
            "(--recipe list says what they are for)."
        )
    return file


def _loaded(file: Traversable, name: str) -> dict[str, Any]:
    import yaml

    with reading(name, OptionError):
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    if not isinstance(data, dict) or not isinstance(data.get("settings", {}), dict):
        raise OptionError(f"{name} is no recipe: expected a YAML mapping of options, as in `seed: 42`.")
    return data


def _checked(context: typer.Context, settings: dict[Any, Any], named: str) -> dict[str, Any]:
    """Parameter -> value as it would have been typed."""
    known = {
        parameter.name: parameter for parameter in context.command.params if parameter.name not in _NEVER
    }
    values: dict[str, Any] = {}
    for key, value in settings.items():
        name = str(key).replace("-", "_")
        if name not in known:
            near = difflib.get_close_matches(name, [str(each) for each in known], n=1)
            hint = f"did you mean {near[0]}?" if near else f"see `dotresize {context.info_name} --help`."
            raise OptionError(
                f"{named} has {str(key)!r}, which is no option of a recipe for this command; {hint}"
            )
        several = bool(getattr(known[name], "multiple", False))
        if isinstance(value, dict) or (isinstance(value, list) and not several):
            raise OptionError(f"{named} has several values for {key}, which takes one.")
        if several:
            values[name] = [str(each) for each in (value if isinstance(value, list) else [value])]
        elif value is not None:
            values[name] = value if isinstance(value, bool) else str(value)
    return values


def recipe_text(context: typer.Context, *, instead: dict[str, Any] | None = None, without: Any = ()) -> str:
    """The recipe that repeats a command: what was typed, or came from a recipe.

    Args:
        context: of the command.
        instead: what was worked out of options in `without`.
        without: options that are left out.
    """
    import yaml

    said = {}
    for name, value in context.params.items():
        source = context.get_parameter_source(name)
        if name in (*_NEVER, *without) or source is None or source.name not in ("COMMANDLINE", "DEFAULT_MAP"):
            continue
        plain = list(value) if isinstance(value, list | tuple) else value
        said[name] = str(plain) if isinstance(plain, Path) else plain
    said |= instead or {}
    head = f"# dotresize {__version__}: dotresize {context.info_name} --recipe {RECIPE_NAME} -o OUTPUT\n"
    return head + str(yaml.safe_dump(said, allow_unicode=True))
