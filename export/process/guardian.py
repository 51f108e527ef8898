"""Runs one engine and lets no process of it outlive the process that asked for it.

Usage: `python -I -S guardian.py LIFELINE_FD GRACE_SECONDS COMMAND...` (standard library only, Linux).

* It leads a session of its own, so a Ctrl-C in the terminal reaches only the process that asked.
* LIFELINE_FD is the reading end of a pipe that the asking process holds open. However that process ends,
  `kill -9` included, the pipe closes and the engine is stopped.
* As a child subreaper it adopts every descendant whose parent died, so engine cores and workers are found
  even when the API server above them was killed.
* The engine gets SIGKILL from the kernel if the guardian itself is killed.

It ends with the engine's exit code, or 128 + N for signal N, after the last descendant is gone.
"""

import ctypes
import os
import select
import signal
import sys
import time
from pathlib import Path
from types import FrameType

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
EXIT_NOT_FOUND = 127
SWEEP_PAUSE_SECONDS = 0.05


def main(arguments: list[str]) -> int:
    """Run the command; returns the exit code."""
    lifeline_fd, grace_seconds, command = int(arguments[0]), float(arguments[1]), arguments[2:]
    libc = ctypes.CDLL(None)
    libc.prctl.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    wake_fd = _wake_on_signals()
    engine = _launch(command, libc)
    stop_at: float | None = None
    stopping = False
    while True:
        code = _reap(engine)
        if code is not None:
            _sweep()
            return code
        timeout = None if stop_at is None else max(0.0, stop_at - time.monotonic())
        watched = [wake_fd] if stopping else [wake_fd, lifeline_fd]
        ready, _, _ = select.select(watched, [], [], timeout)
        asked = lifeline_fd in ready
        if wake_fd in ready:
            received = os.read(wake_fd, 256)
            asked = asked or any(
                number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP) for number in received
            )
        if asked and not stopping:
            stopping, stop_at = True, time.monotonic() + grace_seconds
            os.kill(engine, signal.SIGTERM)
        elif stop_at is not None and time.monotonic() >= stop_at:
            os.kill(engine, signal.SIGKILL)
            stop_at = None


def _wake_on_signals() -> int:
    """Turn signals into bytes on a pipe, which `select` can wait for."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, _ignore)
    return reader


def _ignore(number: int, frame: FrameType | None) -> None:
    """The wake-up pipe has the news already."""


def _launch(command: list[str], libc: ctypes.CDLL) -> int:
    guardian = os.getpid()
    child = os.fork()
    if child:
        return child
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != guardian:  # it died before the line above
        os._exit(EXIT_NOT_FOUND)
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)  # pipes are not inheritable: only 0, 1 and 2 go on
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
        os._exit(EXIT_NOT_FOUND)


def _reap(engine: int) -> int | None:
    """Collect every child that ended; returns the engine's exit code once it did."""
    code = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if pid == 0:
            return code
        if pid == engine:
            ended = os.waitstatus_to_exitcode(status)
            code = ended if ended >= 0 else 128 - ended


def _sweep() -> None:
    """Kill what is left. Grandchildren become children when their parent dies, so this ends with none."""
    while True:
        children = _children_of(os.getpid())
        if not children:
            return
        for pid in children:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(SWEEP_PAUSE_SECONDS)
        _reap(0)


def _children_of(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            status = (entry / "stat").read_text()
        except OSError:  # it ended meanwhile
            continue
        if int(status.rpartition(")")[2].split()[1]) == parent:
            found.append(int(entry.name))
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
