"""A child process ends with all that it started: when it is done, fails, or its parent is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from dotresize.export.process.child import ChildError, run_child

TREE = """
import subprocess, sys, time
grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print("up", grandchild.pid, flush=True)
if sys.argv[1] == "wait":
    time.sleep(600)
if sys.argv[1] == "die":
    import os, signal
    os.kill(os.getpid(), signal.SIGKILL)
"""
PARENT = """
import sys
from pathlib import Path
from threading import Thread
from dotresize.export.process.child import run_child
def work() -> None:
    run_child(["-c", sys.argv[1], "wait"], folder=Path(), on_line=lambda line: print(line, flush=True))
thread = Thread(target=work)  # a child must not depend on the thread that started it
thread.start()
thread.join()
"""


def is_gone(pid: int) -> bool:
    """Whether the process ends within 20 seconds; a zombie of another parent counts as ended."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize(("what", "error"), [("end", None), ("die", "killed by SIGKILL, often for a lack")])
def test_nothing_of_an_ended_child_is_left(tmp_path: Path, what: str, error: str | None) -> None:
    lines: list[str] = []
    if error is None:
        run_child(["-c", TREE, what], folder=tmp_path, on_line=lines.append)
    else:
        with pytest.raises(ChildError, match=error):
            run_child(["-c", TREE, what], folder=tmp_path, on_line=lines.append)
    assert is_gone(int(lines[0].split()[1]))


def test_an_interrupt_ends_the_child(tmp_path: Path) -> None:
    pids: list[int] = []

    def interrupt(line: str) -> None:
        pids.append(int(line.split()[1]))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_child(["-c", TREE, "wait"], folder=tmp_path, on_line=interrupt)
    assert is_gone(pids[0])


def test_a_killed_parent_takes_its_child_along(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, TREE], stdout=subprocess.PIPE, text=True, cwd=tmp_path
    ) as parent:
        assert parent.stdout is not None
        grandchild = int(parent.stdout.readline().split()[1])
        family = psutil.Process(parent.pid).children(recursive=True)
        assert len(family) == 3  # the guardian, what it guards, and what that started
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
    assert [process.pid for process in family if not is_gone(process.pid)] == []
    assert is_gone(grandchild)
