"""The suite in several processes (pytest-xdist): what they share, how tests are dealt out, how many threads.

A file's tests stay together (`--dist loadfile`), so its module fixtures are made once. Of the tests that
start vLLM one runs at a time: two engines would want twice the memory. (`--dist loadgroup` could say that
too, but pytest-xdist 3.8 ignores it silently with pytest 9.2.)
"""

import fcntl
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import IO

import pytest

__all__ = ["Once", "OneEngine", "deal_out", "limit_threads", "once", "shared_folder"]

Once = Callable[[str, Callable[[Path], object]], Path]
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
    items.sort(key=lambda item: file_of(item) not in slow)  # stable: nothing else changes its place


class OneEngine:
    """Lets one worker at a time run tests that are marked `vllm`."""

    def __init__(self) -> None:
        self._lock: IO[str] | None = None

    def before(self, item: pytest.Item, folder: Path) -> None:
        """Wait for the others' engines."""
        if item.get_closest_marker("vllm") is not None and self._lock is None:
            self._lock = (folder / "vllm.lock").open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX)

    def after(self, item: pytest.Item, following: pytest.Item | None) -> None:
        """Let them start theirs, unless the next test uses the same engine."""
        if self._lock is None:
            return
        same = following is not None and file_of(following) == file_of(item)
        if not same or following is None or following.get_closest_marker("vllm") is None:
            self._lock.close()
            self._lock = None


def shared_folder(factory: pytest.TempPathFactory) -> Path:
    """One folder for all workers of this run."""
    base = factory.getbasetemp()
    return base.parent if WORKER in os.environ else base


def file_of(item: pytest.Item) -> str:
    """The test's file, as node ids name it."""
    return item.nodeid.partition("::")[0]
