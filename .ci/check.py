"""`make check`: formatting, lint, types, tests. One line per step; stops at the first failure.

python .ci/check.py                      all steps
python .ci/check.py --only types         one of them
python .ci/check.py -- -m 'not slow'     what follows `--` goes to pytest
"""

import argparse
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
TYPE_TREE = BUILD / "types"
STAGES = ("compress", "export", "recover", "serve", "bench", "plan")
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
    for name, (command, directory) in steps.items():
        if arguments.only in (None, name):
            run(name, command, directory)


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


def run(name: str, command: list[str], directory: Path) -> None:
    """Run one step with its output in build/<name>.log, shown only when it fails."""
    log = BUILD / f"{name}.log"
    print(f"{name:<8}", end="", flush=True)
    started = time.monotonic()
    with log.open("w") as stream:
        result = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            cwd=directory,
            check=False,
        )
    output = log.read_text(encoding="utf-8", errors="replace").strip()
    if name == "types":  # paths in the tree of links -> paths in the repository
        output = re.sub(rf"^(?:dotresize/({'|'.join(STAGES)})|(ci))/", _repository_folder, output, flags=re.M)
    print(f"{time.monotonic() - started:7.1f} s  {'ok' if result.returncode == 0 else 'FAILED'}", flush=True)
    if result.returncode != 0:
        print(output, flush=True)
        sys.exit(1)
    if name == "tests":
        print(output.splitlines()[-1], flush=True)


def _repository_folder(match: re.Match[str]) -> str:
    return f"{match.group(1)}/" if match.group(1) else ".ci/"


if __name__ == "__main__":
    main()
