"""The life cycle on real process trees: whatever dies first, nothing stays behind.

The stand-in engine is a process tree like vLLM's (server, engine core, worker), except that it is as
stubborn as possible: every process ignores SIGTERM, and the worker leaves the process group.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from dotresize.serve.engine.process import EngineProcess

TREE = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN if "stubborn" in sys.argv else signal.SIG_DFL)
if "top" in sys.argv:
    subprocess.Popen([sys.executable, __file__, "core", *sys.argv[2:]])
elif "core" in sys.argv:
    subprocess.Popen([sys.executable, __file__, "worker", *sys.argv[2:]], start_new_session=True)
print("up", sys.argv[1], os.getpid(), flush=True)
time.sleep(600)
"""
PARENT = """
import os, sys, time
from pathlib import Path
from dotresize.serve.engine.process import EngineProcess
engine = EngineProcess(sys.argv[2:], os.environ, Path(sys.argv[1]))
print("started", flush=True)
time.sleep(600)
"""
PROCESSES = 3


@pytest.fixture
def tree(tmp_path: Path) -> list[str]:
    script = tmp_path / "tree.py"
    script.write_text(TREE)
    return [sys.executable, str(script), "top"]


def wait_for_tree(log: Path) -> dict[str, int]:
    """Process ids by role, once all are up."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        lines = [line.split() for line in log.read_text().splitlines()] if log.exists() else []
        if len(lines) == PROCESSES:
            return {role: int(pid) for _, role, pid in lines}
        time.sleep(0.05)
    raise AssertionError(f"the tree did not come up: {log.read_text()}")


def wait_until_gone(pids: dict[str, int], seconds: float) -> list[str]:
    """Roles that are still alive after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        alive = [role for role, pid in pids.items() if psutil.pid_exists(pid)]
        if not alive or time.monotonic() > deadline:
            return alive
        time.sleep(0.05)


def test_stop_ends_every_process(tree: list[str], tmp_path: Path) -> None:
    log = tmp_path / "log"
    with EngineProcess(tree, os.environ, log) as engine:
        pids = wait_for_tree(log)
        assert engine.poll() is None
    assert wait_until_gone(pids, 0) == []
    assert engine.poll() == 128 + signal.SIGTERM


def test_stubborn_processes_are_killed_after_the_grace(
    tree: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dotresize.serve.engine.process.STOP_GRACE_SECONDS", 0.5)
    log = tmp_path / "log"
    engine = EngineProcess([*tree, "stubborn"], os.environ, log)
    pids = wait_for_tree(log)
    assert engine.stop() == 128 + signal.SIGKILL
    assert wait_until_gone(pids, 0) == []
    assert engine.stop() == 128 + signal.SIGKILL  # stopping twice is harmless


@pytest.mark.parametrize("killed", ["top", "guardian"])
def test_a_killed_process_takes_the_rest_with_it(tree: list[str], tmp_path: Path, killed: str) -> None:
    log = tmp_path / "log"
    engine = EngineProcess(tree, os.environ, log)
    pids = wait_for_tree(log) | {"guardian": engine.pid}
    os.kill(pids[killed], signal.SIGKILL)
    deadline = time.monotonic() + 10
    while engine.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert engine.poll() == 128 + signal.SIGKILL
    left = wait_until_gone(pids, 2)
    # with the guardian gone only the group can be killed; a worker that left the group is beyond reach
    assert left == ([] if killed == "top" else ["worker"])
    if left:
        os.kill(pids["worker"], signal.SIGKILL)


def test_a_killed_parent_leaves_no_orphan(tree: list[str], tmp_path: Path) -> None:
    log = tmp_path / "log"
    parent = subprocess.Popen([sys.executable, "-c", PARENT, str(log), *tree], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"started\n"
    pids = wait_for_tree(log)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert wait_until_gone(pids, 5) == []


def test_a_program_that_does_not_exist_is_reported(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with EngineProcess(["/nowhere/python"], os.environ, log) as engine:
        deadline = time.monotonic() + 5
        while engine.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        assert engine.poll() == 127
    assert "No such file or directory" in log.read_text()
