"""Run one program of an engine to its end: watched, stopped with all it started, its output kept."""

import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ...serve.engine.process import EngineProcess
from .memory_watch import MemoryWatch, WatchReport

__all__ = ["EngineRun", "failure_of", "run_engine"]

POLL_SECONDS = 0.1
KILLED = 128 + 9
OUT_OF_MEMORY = re.compile(
    r"out of memory|OutOfMemoryError|MemoryError|can't allocate memory|bad_alloc|bad allocation|"
    r"Cannot allocate memory|Failed to allocate memory|No available memory for the cache blocks|"
    r"larger than the available KV cache memory|Not enough memory",
    re.IGNORECASE,
)
# a line that names an exception, as Python prints it last; or one of ours
CAUSE = re.compile(
    r"^(?:\([^)]*\)\s*)?(?:\w+ \d\d-\d\d [\d:]+ \[[^\]]*\] )?((?:[\w.]+(?:Error|Exception)|error): .+)$"
)


@dataclass(frozen=True, kw_only=True)
class EngineRun:
    """How a program ended, and what its process tree used."""

    exit_code: int  # 128 + N for signal N
    output: str
    used: WatchReport
    timed_out: bool = False


def run_engine(
    command: Sequence[str], *, environment: Mapping[str, str], log_path: Path, timeout_seconds: float
) -> EngineRun:
    """Run a command and wait; nothing that it started outlives this call.

    Args:
        command: program and arguments.
        environment: added to the present one, which it overrules: all models get the same.
        log_path: gets stdout and stderr; an older file is replaced.
        timeout_seconds: it is stopped after that long.
    """
    log_path.unlink(missing_ok=True)
    # vLLM's throughput benchmark divides by the elapsed time of its progress bar, so the bar must run
    inherited = {name: value for name, value in os.environ.items() if name != "TQDM_DISABLE"}
    with (
        EngineProcess(command, {**inherited, **environment}, log_path) as process,
        MemoryWatch(process.pid) as watch,
    ):
        deadline = time.monotonic() + timeout_seconds
        while (code := process.poll()) is None and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        timed_out = code is None
        if code is None:
            code = process.stop()
    output = log_path.read_text(encoding="utf-8", errors="replace")
    return EngineRun(exit_code=code, output=output, used=watch.report, timed_out=timed_out)


def failure_of(run: EngineRun) -> tuple[Literal["out of memory", "failed"], str]:
    """Why a run failed: its kind, and one line for people."""
    if run.timed_out:
        return "failed", "it did not end in time and was stopped"
    lines = [line.strip() for line in run.output.splitlines() if line.strip()]
    for line in reversed(lines):
        if OUT_OF_MEMORY.search(line):
            return "out of memory", line[:500]
    if run.exit_code == KILLED:
        return "out of memory", "the engine was killed (SIGKILL), as the kernel does when memory runs out"
    causes = [found.group(1) for line in lines if (found := CAUSE.match(line))]
    last = causes[-1] if causes else (lines[-1] if lines else "it printed nothing")
    return "failed", f"exit code {run.exit_code}: {last[:500]}"
