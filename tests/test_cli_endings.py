"""How a command ends when no result comes out of it, and what its arguments and names may hold."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dotresize.bench.judge.compare import Change
from dotresize.bench.record.results import TaskScore
from dotresize.cli import app
from dotresize.cli.printed.output import emit, spinner, styled
from dotresize.cli.printed.progress import ProgressBar
from dotresize.cli.printed.tables import quality_tables
from dotresize.cli.printed.tables_bench import changes_table
from dotresize.cli.tasks import _table as scores_table
from dotresize.cli.verify import _table
from dotresize.errors import OptionError
from dotresize.export.contract.manifest import Check, Manifest

PROGRAM = """
import sys, tempfile, time
from pathlib import Path
from dotresize.cli import main
from dotresize.cli.asked.gate import Program
program = Program(pretty_exceptions_enable=False)
@program.command()
def work(what: str, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder):
        if what == "crash":
            {}["no such\\x1b key"]
        if what == "memory":
            bytearray(2**62)
        if what == "torch memory":
            import torch
            torch.empty(2**55)
        if what == "wait":
            print("ready", flush=True)
            time.sleep(600)
@program.command()
def other() -> None: ...
main(program)
"""
ODD = "[bold]x [/red] :smile:"


def dotresize(*arguments: str | bytes | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    plain = {key: value for key, value in os.environ.items() if key not in ("DOTRESIZE_DEBUG", "FORCE_COLOR")}
    command = [sys.executable, "-m", "dotresize.cli", *(os.fsdecode(each) for each in arguments)]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        check=False,
        stdin=subprocess.DEVNULL,
        env={**plain, "COLUMNS": "200", **environment},
    )


@pytest.fixture
def program(tmp_path: Path) -> list[str]:
    """A program with the real `main` whose command fails as it is told, with a temporary directory open."""
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "work").mkdir()
    return [sys.executable, str(tmp_path / "program.py"), "work"]


def end(program: list[str], what: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    plain = {key: value for key, value in os.environ.items() if key != "DOTRESIZE_DEBUG"}
    done = subprocess.run(
        [*program, what, str(folder)],
        capture_output=True,
        text=True,
        check=False,
        env={**plain, **environment},
    )
    assert list(folder.iterdir()) == [], "a temporary directory was left"
    return done


def test_an_unexpected_exception_is_one_line_to_report(program: list[str], tmp_path: Path) -> None:
    done = end(program, "crash", tmp_path / "work")
    assert done.returncode == 70
    (line,) = done.stderr.splitlines()
    assert line.startswith("internal error: KeyError: 'no such\\x1b key'; please report it with the command ")
    assert f"`dotresize work crash {tmp_path / 'work'}`; DOTRESIZE_DEBUG=1 shows the traceback" in line


def test_debug_shows_the_traceback_of_an_unexpected_exception(program: list[str], tmp_path: Path) -> None:
    done = end(program, "crash", tmp_path / "work", DOTRESIZE_DEBUG="1")
    assert done.returncode == 70
    assert "Traceback" in done.stderr
    assert "in work" in done.stderr


@pytest.mark.parametrize("what", ["memory", "torch memory"])
def test_out_of_memory_is_no_internal_error(program: list[str], tmp_path: Path, what: str) -> None:
    done = end(program, what, tmp_path / "work")
    assert done.returncode == 71, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: out of memory")


def test_sigterm_removes_temporary_files(program: list[str], tmp_path: Path) -> None:
    with subprocess.Popen(
        [*program, "wait", str(tmp_path / "work")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (143, "terminated\n")
    assert list((tmp_path / "work").iterdir()) == []


def test_a_reader_that_left_is_no_error(pico_llama: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with subprocess.Popen(
        [sys.executable, "-m", "dotresize.cli", "info", str(pico_llama), "--json"],
        stdout=writer,
        stderr=subprocess.PIPE,
    ) as process:
        os.close(writer)
        _, _ = process.communicate(timeout=60)
    assert process.returncode == 141


def test_a_damaged_installation_is_reported(pico_llama: Path, tmp_path: Path) -> None:
    """An installation is damaged: a module that the command needs raises when it is imported."""
    (tmp_path / "rich").mkdir()
    (tmp_path / "rich" / "table.py").write_text("raise LookupError('a damaged installation')")
    (tmp_path / "sitecustomize.py").write_text(
        f"import rich; rich.__path__.insert(0, {str(tmp_path / 'rich')!r})"
    )
    done = dotresize("info", pico_llama, PYTHONPATH=str(tmp_path))
    assert done.returncode == 70
    (line,) = done.stderr.splitlines()
    assert line.startswith("internal error: LookupError: a damaged installation; please report")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["info", "m" * 300], "PATH is 'mmm"),
        (["info", "~no-such-user-of-ours/x"], "PATH is '~no-such-user-of-ours/x', and there is no such user"),
        (["info", b"caf\xe9"], "which is not UTF-8"),
        (["perplexity", ""], "MODELS is empty"),
        (["perplexity", "~no-such-user-of-ours/x"], "MODELS is '~no-such-user-of-ours/x'"),
        (["perplexity", "m", "--evaluation", "d/" * 3000], "--evaluation is 'd/d/"),
        (["export", "gguf", "m", "-o", b"\xff.gguf"], r"--output is '\udcff.gguf', which is not UTF-8"),
        (["bench", "a", "b", "-o", "x", "--seed", "1" * 23], "--seed is '1111"),
        (["compress", "m", "-o", "x", "--ridge-tokens", "inf"], "--ridge-tokens is inf; expected a finite"),
        (["serve", "m", "--gpu-memory-utilization", "nan"], "--gpu-memory-utilization is nan"),
        (["verify", "~no-such-user-of-ours/x"], "OUT is '~no-such-user-of-ours/x'"),
    ],
)
def test_an_impossible_argument_is_named(arguments: list[str | bytes], message: str) -> None:
    found = CliRunner().invoke(app, [os.fsdecode(each) for each in arguments]).exception
    assert isinstance(found, OptionError)
    assert message in str(found)


def test_an_impossible_argument_is_one_line() -> None:
    done = dotresize("export", "gguf", "m", "-o", b"\xff.gguf")
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: --output is")


def test_names_are_printed_as_they_are(pico_llama: Path, tmp_path: Path) -> None:
    first, second = tmp_path / ODD.replace("/", "|"), tmp_path / "[bold]y"
    for place in (first, second):
        shutil.copytree(pico_llama, place)
    config = json.loads((first / "config.json").read_text())
    (first / "config.json").write_text(json.dumps(config | {"architectures": ["[/red]\x1b[2J"]}))
    shown = dotresize("info", first)
    assert shown.returncode == 0, shown.stderr
    assert r"[/red]\x1b[2J" in shown.stdout
    missing = dotresize("verify", tmp_path / ODD)
    assert missing.returncode == 2
    assert ODD in missing.stderr
    absent = dotresize(
        "compress", "[/red]", "-o", tmp_path / "out", "--hidden-size", "0.5", HF_HUB_OFFLINE="1"
    )
    assert "[/red]" in absent.stderr
    assert "internal error" not in absent.stderr


def test_tables_print_names_as_they_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    estimate = {"value": 1.0, "standard_error": None}
    row = {"name": ODD, "perplexity": estimate, "perplexity_ratio": None, "kl_nats_per_token": None}
    text = {"text": "[/t]", "windows": 1, "window_tokens": 8, "models": [row | {"calibrated_on": "kind"}]}
    worst = {"geometric_mean": estimate, "worst": estimate, "worst_text": "[/x]"}
    summary = [{"name": ODD, "scope": "[/o]", "texts": 1, **worst}]
    quality = {"texts": [text], "summary": summary, "warnings": ["[/w]"]}
    check = Check(name="[/c]", runtime="[/r]", measured={}, limits={}, passed=True, note="[/n]")
    record = Manifest(format="gguf", precision="[/p]", files={}, reference=None, verification=(check,))
    change = Change(
        model="[/m]",
        scenario="latency",
        load=1,
        metric="ttft_seconds",
        old=1.0,
        new=1.0,
        worsening=0.0,
        low=None,
        high=None,
    )
    score = TaskScore(model="[/s]", task="t", metric="m", value=0.5, standard_error=None, documents=1)
    tables = (*quality_tables(quality), _table(record), changes_table([change]), scores_table([score]))
    emit({}, *tables, f"written: {ODD}", styled(ODD, "bold"), as_json=False)
    with spinner(ODD) as tell:
        tell("[/red]")
    with ProgressBar() as progress:
        progress.begin("[/red]", 1)
    shown = capsys.readouterr()
    for name in (
        ODD,
        "[/t]",
        "[/o]",
        "[/x]",
        "[/w]",
        "[/c]",
        "[/r]",
        "[/n]",
        "[/p]",
        "[/m]",
        "[/s]",
        f"written: {ODD}",
    ):
        assert name in shown.out


def test_a_step_is_over_with_its_last_unit(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar() as progress:
        progress.begin("read", 2)
        progress.advance()
        assert "read" not in capsys.readouterr().err
        progress.advance()
        assert "read: 0 s" in capsys.readouterr().err  # not with the next step, which may be long in coming
        progress.advance()  # more than was announced
        progress.begin("write", 0)
    assert capsys.readouterr().err == "write: 0 s\n"
