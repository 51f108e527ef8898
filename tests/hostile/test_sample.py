"""A fixed sample of every kind of hostile case, and a few kills: what `make bench-hostile` runs at length."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SHARE = 0.04  # of every kind's cases; about a minute on two cores


def run(module: str, *arguments: "str | Path") -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_damaged_input_escapes_is_believed_or_costs_a_file(tmp_path: Path) -> None:
    kinds = [
        "config",
        "tensor",
        "container",
        "gguf",
        "tokenizer",
        "manifest",
        "text",
        "output",
        "option",
        "kept",
        "plan",
    ]
    run("tests.hostile", "--share", str(SHARE), "--output", tmp_path, "--kinds", *kinds)


def test_a_kill_at_any_moment_loses_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    run(
        "tests.hostile.faults",
        "--kills",
        "10",
        "--commands",
        "compress",
        "force",
        "gguf",
        "--output",
        tmp_path,
    )
