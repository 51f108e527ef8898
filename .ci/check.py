"""`make check`: formatting, lint, types, tests. One line per step; stops at the first failure.

Types are checked while the tests run: they take a minute of one core.

python .ci/check.py                      all steps
python .ci/check.py --only types         one of them
python .ci/check.py -- -m 'not slow'     what follows `--` goes to pytest
"""

import argparse
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
TYPE_TREE = BUILD / "types"
STAGES = ("compress", "export", "recover", "serve", "bench", "plan")
POLL_SECONDS = 0.1
PARALLEL = ["--dist", "loadfile", "--no-loadscope-reorder"]  # see tests/workers.py


def main() -> None:
    """Run the steps; exit status 1 at the first that fails."""
    parser = argparse.ArgumentParser(description="Formatting, lint, types, tests.")
    parser.add_argument("--only", choices=["format", "lint", "types", "tests"])
    parser.add_argument("--workers", type=int, default=0, help="processes that share the tests; 0: this one")
    parser.add_argument("pytest_arguments", nargs="*")
    arguments = parser.parse_args()
    python = [sys.executable, "-m"]
    parallel = ["-n", str(arguments.workers), *PARALLEL] if arguments.workers else []
    steps = {
        "format": ([*python, "ruff", "format", "--check", "."], ROOT),
        "lint": ([*python, "ruff", "check", "."], ROOT),
        "types": (
            [
                *python,
                "mypy",
                f"--config-file={ROOT / 'pyproject.toml'}",
                f"--cache-dir={ROOT / '.mypy_cache'}",
                *("dotresize", "tests", "docs", "ci"),
            ],
            TYPE_TREE,
        ),
        "tests": ([*python, "pytest", *parallel, "--durations=30", *arguments.pytest_arguments], ROOT),
    }
    lay_out_type_tree()
    for together in (("format",), ("lint",), ("types", "tests")):
        run({name: steps[name] for name in together if arguments.only in (None, name)})


def lay_out_type_tree() -> None:
    """Links that show mypy the packages as they install: it does not read setuptools' package-dir map."""
    shutil.rmtree(TYPE_TREE, ignore_errors=True)
    package = TYPE_TREE / "dotresize"
    package.mkdir(parents=True)
    for path in (ROOT / "dotresize").iterdir():
        (package / path.name).symlink_to(path)
    for stage in STAGES:
        (package / stage).symlink_to(ROOT / stage)
    (TYPE_TREE / "tests").symlink_to(ROOT / "tests")
    (TYPE_TREE / "docs").symlink_to(ROOT / "docs")
    (TYPE_TREE / "ci").symlink_to(ROOT / ".ci")


class Running(NamedTuple):
    """A step at work, its output in build/<name>.log."""

    name: str
    process: subprocess.Popen[bytes]
    started: float


def run(steps: dict[str, tuple[list[str], Path]]) -> None:
    """Run steps side by side; the first that fails stops the others and ends the check."""
    running = [start(name, command, directory) for name, (command, directory) in steps.items()]
    try:
        while running:
            ended = [step for step in running if step.process.poll() is not None]
            running = [step for step in running if step not in ended]
            if not all([report(step) for step in ended]):
                sys.exit(1)
            time.sleep(POLL_SECONDS)
    finally:
        for step in running:
            step.process.send_signal(signal.SIGINT)  # pytest ends what its tests have started
        for step in running:
            step.process.wait()


def start(name: str, command: list[str], directory: Path) -> Running:
    """Start a step."""
    with (BUILD / f"{name}.log").open("w") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, cwd=directory
        )
    return Running(name, process, time.monotonic())


def report(step: Running) -> bool:
    """One line about a step that ended, its output when it failed; whether it did not."""
    output = (BUILD / f"{step.name}.log").read_text(encoding="utf-8", errors="replace").strip()
    if step.name == "types":  # paths in the tree of links -> paths in the repository
        output = re.sub(rf"^(?:dotresize/({'|'.join(STAGES)})|(ci))/", _repository_folder, output, flags=re.M)
    passed = step.process.returncode == 0
    line = f"{step.name:<8}{time.monotonic() - step.started:7.1f} s  {'ok' if passed else 'FAILED'}"
    print(line, flush=True)
    if not passed:
        print(output, flush=True)
    elif step.name == "tests":
        print(output.splitlines()[-1], flush=True)
    return passed


def _repository_folder(match: re.Match[str]) -> str:
    return f"{match.group(1)}/" if match.group(1) else ".ci/"


if __name__ == "__main__":
    main()
