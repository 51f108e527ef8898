"""The suite in several processes (pytest-xdist): what they share, how tests are dealt out, how many threads.

A file's tests stay together (`--dist loadfile`), so its module fixtures are made once. All tests that start
vLLM stay together as well, with one worker: two engines at once would want twice the memory. They come
first, because they take longest; the other worker begins with what does not wait for the narrow SmolLM2.
(`--dist loadgroup` could say which, but pytest-xdist 3.8 ignores it silently with pytest 9.2.)
"""

import ast
import fcntl
import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
from xdist.scheduler import LoadFileScheduling

__all__ = [
    "EngineScheduling",
    "Once",
    "deal_out",
    "limit_threads",
    "once",
    "shared_folder",
    "start_children_faster",
    "starts_vllm",
]

Once = Callable[[str, Callable[[Path], object]], Path]
ROOT = Path(__file__).resolve().parent.parent
WORKER = "PYTEST_XDIST_WORKER"
WORKERS = "PYTEST_XDIST_WORKER_COUNT"
VLLM = "pytest.mark.vllm"
NARROW = "narrow_smollm2_directory"


def limit_threads() -> None:
    """Give each worker, and what it starts, its part of the cores; before torch is imported."""
    workers = int(os.environ.get(WORKERS, "1"))
    if workers > 1:
        threads = max(1, len(os.sched_getaffinity(0)) // workers)
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))


def start_children_faster() -> None:
    """Let every Python that this one starts read `tests/site/sitecustomize.py`."""
    paths = (str(ROOT / "tests" / "site"), os.environ.get("PYTHONPATH"))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))


def once(factory: pytest.TempPathFactory) -> Once:
    """A function `(name, make) -> folder` that calls `make(folder)` in the first worker that asks.

    The others wait for it. What `make` put into the folder is read-only from then on.
    """
    root = shared_folder(factory) / "once"

    def made(name: str, make: Callable[[Path], object]) -> Path:
        folder, finished = root / name, root / f"{name}.made"
        root.mkdir(exist_ok=True)
        with (root / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not finished.exists():
                shutil.rmtree(folder, ignore_errors=True)  # of a worker that failed
                folder.mkdir()
                make(folder)
                finished.touch()
        return folder

    return made


def deal_out(items: list[pytest.Item]) -> None:
    """Begin with vLLM, then the files with slow tests, so that no worker is left with a long one at the end.

    Those that want the narrow SmolLM2 come last in each, so that not both workers begin to wait for it.
    """
    if WORKER not in os.environ:
        return
    slow = {file_of(item) for item in items if item.get_closest_marker("slow") is not None}
    late = {file_of(item) for item in items if NARROW in getattr(item, "fixturenames", ())}

    def rank(item: pytest.Item) -> tuple[int, bool]:
        kind = 0 if starts_vllm(item.nodeid) else 1 if file_of(item) in slow else 2
        return kind, file_of(item) in late

    items.sort(key=rank)  # stable: nothing else changes its place


class EngineScheduling(LoadFileScheduling):  # type: ignore[misc]  # pytest-xdist has no type hints
    """Deals out whole files, and all tests that start vLLM as if they were one."""

    def _split_scope(self, nodeid: str) -> str:
        return "vLLM" if starts_vllm(nodeid) else str(super()._split_scope(nodeid))


def starts_vllm(nodeid: str) -> bool:
    """Whether a test, or the parameter that it is run with, is marked `vllm`.

    The scheduler knows names only, so the marks are read from the source.
    """
    file, _, name = nodeid.partition("::")
    function, _, parameters = name.rpartition("::")[2].partition("[")
    marked = vllm_marks(ROOT / file)
    return function in marked.functions or not marked.parameters.isdisjoint(parameters[:-1].split("-"))


class Marks(NamedTuple):
    """Names that carry a mark in one file."""

    functions: frozenset[str]
    parameters: frozenset[str]


@cache
def vllm_marks(file: Path) -> Marks:
    """What is marked `vllm`: test functions, and strings given to `pytest.param`."""
    functions: set[str] = set()
    parameters: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef) and VLLM in map(ast.unparse, node.decorator_list):
            functions.add(node.name)
        if (
            isinstance(node, ast.Call)
            and ast.unparse(node.func) == "pytest.param"
            and VLLM in ast.unparse(node)
        ):
            parameters.update(str(each.value) for each in node.args if isinstance(each, ast.Constant))
    return Marks(frozenset(functions), frozenset(parameters))


def shared_folder(factory: pytest.TempPathFactory) -> Path:
    """One folder for all workers of this run."""
    base = factory.getbasetemp()
    return base.parent if WORKER in os.environ else base


def file_of(item: pytest.Item) -> str:
    """The test's file, as node ids name it."""
    return item.nodeid.partition("::")[0]
