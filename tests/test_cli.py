"""The command line as a program: what it loads, prints, and returns, whatever the subcommand."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dotresize.errors import ConvergenceError, DotresizeError, ModelError, VerificationError
from dotresize.version import __version__

# Loading one of these alone takes longer than the half second that `--help` may take.
HEAVY = (
    "torch",
    "transformers",
    "onnx",
    "onnxruntime",
    "onnxruntime_genai",
    "vllm",
    "datasets",
    "scipy",
    "ot",
)


def run(*command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    plain = {key: value for key, value in os.environ.items() if key not in ("DOTRESIZE_DEBUG", "FORCE_COLOR")}
    return subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**plain, "COLUMNS": "80", **environment},
    )


@pytest.fixture
def failing_command(tmp_path: Path) -> Path:
    """A program with the real entry point and one more command, `fail KIND MESSAGE`."""
    program = tmp_path / "program.py"
    program.write_text(
        "from dotresize import errors\n"
        "from dotresize.cli import app, main\n"
        "@app.command('fail')\n"
        "def fail(kind: str, message: str) -> None:\n"
        "    raise KeyboardInterrupt if kind == 'KeyboardInterrupt' else getattr(errors, kind)(message)\n"
        "main()\n"
    )
    return program


def test_version_and_every_help_load_nothing_heavy() -> None:
    script = f"""
import sys
from typer.main import get_command
from dotresize.cli import app, main
for arguments in [["--version"], ["--help"], *([name, "--help"] for name in get_command(app).commands)]:
    sys.argv = ["dotresize", *arguments]
    try:
        main()
    except SystemExit as end:
        assert not end.code, arguments
    loaded = [name for name in {HEAVY!r} if name in sys.modules]
    assert not loaded, (arguments, loaded)
"""
    result = run("-c", script)
    assert result.stderr == ""
    assert "--help" in result.stdout


def test_importing_the_package_loads_nothing_heavy() -> None:
    result = run("-c", f"import dotresize, sys; print([name for name in {HEAVY!r} if name in sys.modules])")
    assert result.stdout.strip() == "[]"


def test_installed_command_is_this_package() -> None:
    result = run(Path(sys.executable).parent / "dotresize", "--version")
    assert (result.returncode, result.stdout, result.stderr) == (0, f"dotresize {__version__}\n", "")


@pytest.mark.parametrize("kind", [DotresizeError, ModelError, VerificationError, ConvergenceError])
def test_an_error_is_one_line_on_stderr_with_its_exit_code(
    failing_command: Path, kind: type[DotresizeError]
) -> None:
    message = f"found [bold] in {'a/very/long/path/' * 12}model, expected a directory; name another one"
    result = run(failing_command, "fail", kind.__name__, message)
    assert result.stderr == f"error: {message}\n"
    assert result.stdout == ""
    assert result.returncode == kind.exit_code != 0


def test_debug_shows_the_traceback(failing_command: Path) -> None:
    result = run(failing_command, "fail", "ModelError", "no model", DOTRESIZE_DEBUG="1")
    assert "Traceback" in result.stderr
    assert "ModelError: no model" in result.stderr
    assert result.returncode == 1


def test_ctrl_c_is_no_traceback(failing_command: Path) -> None:
    result = run(failing_command, "fail", "KeyboardInterrupt", "")
    assert "Traceback" not in result.stderr
    assert result.returncode == 130


@pytest.mark.parametrize("arguments", [["no-such-command"], ["--no-such-option"]])
def test_usage_errors_exit_2_and_name_the_culprit(failing_command: Path, arguments: list[str]) -> None:
    result = run(failing_command, *arguments)
    assert result.returncode == 2
    assert arguments[0] in result.stderr
    assert "Traceback" not in result.stderr


def test_json_is_the_last_line_of_stdout() -> None:
    script = """
import sys
from rich.table import Table
from dotresize.cli.printed.output import emit
table = Table("width")
table.add_row("459")
emit({"width": 459}, table, as_json="json" in sys.argv)
"""
    as_json = run("-c", script, "json")
    assert json.loads(as_json.stdout.splitlines()[-1]) == {"width": 459}
    assert len(as_json.stdout.splitlines()) == 1
    assert "459" in as_json.stderr
    as_table = run("-c", script)
    assert "459" in as_table.stdout
    assert as_table.stderr == ""
