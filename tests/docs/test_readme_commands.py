"""Every command that README shows is one that the command line takes, and the demo runs what README says."""

import re
import shlex
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from dotresize.cli.app import app
from dotresize.cli.demo import COMMANDS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHOWN = [shlex.split(line, comments=True) for line in re.findall(r"(?m)^    dotresize (.+)$", README)]


def check(arguments: list[str]) -> None:
    """Find the command and let it read the words, without converting or running anything.

    Raises:
        typer.TyperException: no such command or option, or an option without its value.
    """
    command, words = typer.main.get_command(app), list(arguments)
    context = typer.Context(command)
    while isinstance(command, TyperGroup):
        name, found, words = command.resolve_command(context, words)
        assert found is not None
        command, context = found, typer.Context(found, info_name=name, parent=context)
    command.make_parser(context).parse_args(words)


@pytest.mark.parametrize("arguments", SHOWN, ids=" ".join)
def test_readme_shows_what_the_command_line_takes(arguments: list[str]) -> None:
    check(arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ["narrow", "m"],
        ["compress", "m", "--no-such-option"],
        ["export", "onnx", "d", "-o"],
        ["export", "pdf"],
    ],
)
def test_what_it_does_not_take_is_found(arguments: list[str]) -> None:
    with pytest.raises(typer.TyperException):
        check(arguments)


def test_the_demo_runs_what_readme_says() -> None:
    start = README.index("It runs these commands")
    block = README[start:].split("\n\n")[1]
    shown = [line.strip().removeprefix("dotresize ") for line in block.splitlines()]
    assert shown == [shlex.join(command) for command in COMMANDS]


@pytest.mark.parametrize("target", sorted(set(re.findall(r"(?:^    |`)make ([a-z-]+)", README, re.M))))
def test_readme_names_targets_that_exist(target: str) -> None:
    assert re.search(rf"(?m)^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"))
