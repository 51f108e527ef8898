"""Recipes: what was typed wins, what a run writes repeats it, and what no command knows is refused."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.main import get_command
from typer.testing import CliRunner

from dotresize.cli import app
from dotresize.cli.printed.output import error_console, note_console, set_loudness
from dotresize.errors import OptionError

from .text import TEXT


def params(command: str, *words: str) -> dict[str, Any]:
    program: Any = get_command(app)
    found: dict[str, Any] = program.commands[command].make_context(command, [*words]).params
    return found


def test_a_run_writes_the_recipe_that_repeats_it(pico_llama: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        f"about: a test\nsettings:\n  model: {pico_llama}\n  intermediate-size: 0.5\n"
        f"  calibration: ['{TEXT}']\n  calibration_windows: 2\n  window_tokens: 64\n  evaluation: none\n"
    )
    first, second = tmp_path / "first", tmp_path / "second"
    typed = ["compress", "--recipe", str(recipe), "-o", str(first), "--intermediate-size", "0.75", "--quiet"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DOTRESIZE_QUIET", "")
        ran = CliRunner().invoke(app, typed, catch_exceptions=False)
        assert "loading" not in ran.stderr
    written = yaml.safe_load((first / "recipe.yaml").read_text())
    assert written["intermediate_size"] == "0.75"
    assert "output" not in written
    CliRunner().invoke(
        app, ["compress", "--recipe", str(first / "recipe.yaml"), "-o", str(second)], catch_exceptions=False
    )
    files = sorted(path.relative_to(first) for path in first.rglob("*") if path.is_file())
    assert [path for path in files if (first / path).read_bytes() != (second / path).read_bytes()] == []


@pytest.mark.parametrize("command", ["compress", "recover"])
def test_recipes_that_come_with_it_are_options_of_their_command(command: str) -> None:
    listed = CliRunner().invoke(app, [command, "--recipe", "list"]).stdout.splitlines()
    assert len(listed) >= 3
    needed = ["m", "-o", "o"] + (["--teacher", "t"] if command == "recover" else [])
    for line in listed:
        name, _, about = line.partition(" ")
        assert "measured" in about.lower()
        assert params(command, *needed, "--recipe", name) != params(command, *needed, *_text(command))


def _text(command: str) -> list[str]:
    return ["--text", "builtin"] if command == "recover" else []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "intermedate_size: 0.5",
            "has 'intermedate_size', which is no option .* did you mean intermediate_size",
        ),
        ("output: here", "has 'output', which is no option of a recipe"),
        ("seed: [1, 2]", "has several values for seed, which takes one"),
        ("- seed", "is no recipe: expected a YAML mapping"),
        ("seed: 1: 2", "cannot be read"),
    ],
)
def test_what_no_command_can_mean_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(OptionError, match=message):
        params("compress", "m", "-o", "o", "--recipe", str(tmp_path / "r.yaml"))
    with pytest.raises(OptionError, match=r"no recipe '7b'; give a YAML file, or one of 135m, 1b, 8b, 70b"):
        params("compress", "m", "-o", "o", "--recipe", "7b")


def test_quiet_leaves_errors_and_verbose_is_its_opposite(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOTRESIZE_QUIET", "")
    set_loudness(quiet=True, verbose=False)
    note_console().print("going on")
    error_console().print("gone wrong")
    assert capsys.readouterr().err == "gone wrong\n"
    with pytest.raises(OptionError, match="both given"):
        set_loudness(quiet=True, verbose=True)


def test_bars_of_libraries_stay_off_the_screen_though_torch_is_imported_first() -> None:
    program = (
        "from dotresize.cli.printed.output import set_loudness; set_loudness(quiet=False, verbose=False)\n"
        "import torch\nfrom tqdm.auto import tqdm\nlist(tqdm([1]))"
    )
    command = [sys.executable, "-c", program]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stderr == ""


def test_help_is_a_command() -> None:
    asked = CliRunner().invoke(app, ["help", "export", "onnx"])
    assert "--provider" in asked.stdout
    assert isinstance(CliRunner().invoke(app, ["help", "compres"]).exception, OptionError)
