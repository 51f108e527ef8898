"""Real child processes that end in every way an engine can end."""

import sys
from pathlib import Path

import psutil
import pytest

from dotresize.bench.process.engine_run import EngineRun, failure_of, run_engine


def run_python(code: str, folder: Path, timeout_seconds: float = 60, limit_kilobytes: int = 0) -> EngineRun:
    command = [sys.executable, "-c", code]
    if limit_kilobytes:
        command = ["bash", "-c", f'ulimit -v {limit_kilobytes}; exec "$@"', "-", *command]
    return run_engine(command, environment={}, log_path=folder / "log", timeout_seconds=timeout_seconds)


def test_a_good_run_keeps_its_output_and_what_it_used(tmp_path: Path) -> None:
    code = "import time; x = bytearray(200_000_000); time.sleep(1); print('done')"
    run = run_python(code, tmp_path)
    assert run.exit_code == 0
    assert run.output == "done\n"
    assert run.used.peak_bytes is not None
    assert 200e6 < run.used.peak_bytes < 300e6


def test_memory_that_the_system_refuses_is_out_of_memory(tmp_path: Path) -> None:
    run = run_python("bytearray(10**11)", tmp_path, limit_kilobytes=2_000_000)
    assert run.exit_code == 1
    assert failure_of(run) == ("out of memory", "MemoryError")


def test_torch_out_of_memory_is_recognised(tmp_path: Path) -> None:
    run = run_python("import torch; torch.empty(10**14)", tmp_path)
    kind, cause = failure_of(run)
    assert kind == "out of memory"
    assert "can't allocate memory" in cause


def test_a_process_that_the_kernel_killed_is_out_of_memory(tmp_path: Path) -> None:
    run = run_python("import os; os.kill(os.getpid(), 9)", tmp_path)
    assert run.exit_code == 128 + 9
    assert failure_of(run)[0] == "out of memory"


def test_the_last_exception_is_the_cause(tmp_path: Path) -> None:
    run = run_python("print('loading'); raise ValueError('width 7 does not fit')", tmp_path)
    assert failure_of(run) == ("failed", "exit code 1: ValueError: width 7 does not fit")


def test_a_silent_end_is_said_to_be_silent(tmp_path: Path) -> None:
    assert failure_of(run_python("raise SystemExit(3)", tmp_path)) == (
        "failed",
        "exit code 3: it printed nothing",
    )


@pytest.mark.parametrize("stubborn", [False, True])
def test_a_run_that_hangs_is_stopped_with_all_it_started(stubborn: bool, tmp_path: Path) -> None:
    mark = f"dotresize-hang-{tmp_path.name}"
    hang = f"import time; time.sleep(600)  # {mark}"
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {hang!r}]); {hang}"
    if stubborn:
        code = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {code}"
    run = run_python(code, tmp_path, timeout_seconds=2)
    assert run.exit_code > 128
    assert failure_of(run) == ("failed", "it did not end in time and was stopped")
    alive = [process for process in psutil.process_iter() if mark in " ".join(_command_line(process))]
    assert alive == []


def _command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []
