"""Forked processes that are bounded, whose output is kept, and whose children are looked for afterwards."""

import contextlib
import ctypes
import faulthandler
import os
import select
import shutil
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

from ..fork_end import leave_with

__all__ = ["Recorded", "alive", "fork", "finish", "read_text"]

END_WITH_PARENT = 1  # PR_SET_PDEATHSIG
MARK = "DOTRESIZE_HOSTILE_CASE"


class Recorded:
    """Keeps what goes through the block, and lets it pass: `trace` and `escaped` in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            (self.folder / "trace").write_text(traceback.format_exc(), errors="replace")
            (self.folder / "escaped").write_text(f"{type(error).__name__}: {error}"[:300], errors="replace")


def fork(work: Callable[[], int], *, folder: Path, mark: str) -> int:
    """Start a process, leader of its own session, that does the work and exits with its result.

    Args:
        work: What to do; exit code ESCAPED when something goes through it.
        folder: Gets `stdout` and `stderr`.
        mark: In the environment of every process that it starts.
    """
    process = os.fork()
    if process == 0:
        leave_with(lambda: _child(work, folder, f"{mark} in {folder}"))
    return process


def _child(work: Callable[[], int], folder: Path, mark: str) -> int:
    os.setsid()
    ctypes.CDLL(None).prctl(END_WITH_PARENT, signal.SIGKILL)
    os.environ[MARK] = mark
    with Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)
    for number, name in ((1, "stdout"), (2, "stderr")):
        with (folder / name).open("wb") as stream:
            os.dup2(stream.fileno(), number)
    faulthandler.register(signal.SIGUSR1, file=2)
    return work()


def finish(process: int, seconds: Callable[[], float], folder: Path) -> int | None:
    """Wait for a process: its wait status, or None when it had to be stopped.

    `seconds` is asked again when it has passed: a process may learn how long it takes. Where a stopped
    process stood is in `trace`.
    """
    descriptor, started, done = os.pidfd_open(process), time.monotonic(), False
    try:
        while not done and (left := started + seconds() - time.monotonic()) > 0:
            done = bool(select.select([descriptor], [], [], left)[0])
        if not done:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGUSR1)
                select.select([], [], [], 0.3)
                os.killpg(process, signal.SIGKILL)
            shutil.copyfile(folder / "stderr", folder / "trace")
        _, status = os.waitpid(process, 0)
    finally:
        os.close(descriptor)
    return status if done else None


def alive(mark: str, folder: Path, *, within_seconds: float = 0.0) -> list[str]:
    """Processes that bear the mark of a folder and are still there after that time; they are stopped now."""
    mark = f"{mark} in {folder}"  # two runs at once do not see each other's
    deadline = time.monotonic() + within_seconds
    while (found := list(_marked(mark))) and time.monotonic() < deadline:
        time.sleep(0.05)
    for process in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    return [f"process {process}: {read_text(Path(f'/proc/{process}/cmdline'))[:100]}" for process in found]


def _marked(mark: str) -> Iterator[int]:
    wanted = f"{MARK}={mark}".encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    yield int(entry.name)


def read_text(path: Path) -> str:
    """A file's text whatever it holds; empty when there is none."""
    with contextlib.suppress(OSError):
        return path.read_text(errors="replace").replace("\0", " ")
    return ""
