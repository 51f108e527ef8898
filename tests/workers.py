"""The suite in several processes (pytest-xdist): what they share, how tests are dealt out, how many threads.

A file's tests stay together (`--dist loadfile`), so its module fixtures are made once. All files that start
vLLM stay together as well, with one worker: two engines at once would want twice the memory. They come
first, because they take longest. (`--dist loadgroup` could say that too, but pytest-xdist 3.8 ignores it
silently with pytest 9.2.)
"""

import fcntl
import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from xdist.scheduler import LoadFileScheduling

__all__ = ["EngineScheduling", "Once", "deal_out", "limit_threads", "once", "shared_folder", "starts_engine"]

Once = Callable[[str, Callable[[Path], object]], Path]
ROOT = Path(__file__).resolve().parent.parent
WORKER = "PYTEST_XDIST_WORKER"
WORKERS = "PYTEST_XDIST_WORKER_COUNT"


def limit_threads() -> None:
    """Give each worker, and what it starts, its part of the cores; before torch is imported."""
    workers = int(os.environ.get(WORKERS, "1"))
    if workers > 1:
        threads = max(1, len(os.sched_getaffinity(0)) // workers)
        os.environ.setdefault("OMP_NUM_THREADS", str(threads))


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
    """Begin with the files that have slow tests, so that no worker is left with a long one at the end."""
    if WORKER not in os.environ:
        return
    slow = {file_of(item) for item in items if item.get_closest_marker("slow") is not None}
    engine = {file for file in slow if starts_engine(ROOT / file)}
    rank = dict.fromkeys(slow, 1) | dict.fromkeys(engine, 0)
    items.sort(key=lambda item: rank.get(file_of(item), 2))  # stable: nothing else changes its place


class EngineScheduling(LoadFileScheduling):  # type: ignore[misc]  # pytest-xdist has no type hints
    """Deals out whole files, and all files that start vLLM as if they were one."""

    def _split_scope(self, nodeid: str) -> str:
        file = str(super()._split_scope(nodeid))
        return "files that start vLLM" if starts_engine(ROOT / file) else file


@cache
def starts_engine(file: Path) -> bool:
    """Whether a test file has tests that are marked `vllm`."""
    return "pytest.mark.vllm" in file.read_text(encoding="utf-8")


def shared_folder(factory: pytest.TempPathFactory) -> Path:
    """One folder for all workers of this run."""
    base = factory.getbasetemp()
    return base.parent if WORKER in os.environ else base


def file_of(item: pytest.Item) -> str:
    """The test's file, as node ids name it."""
    return item.nodeid.partition("::")[0]
