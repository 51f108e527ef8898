"""One point of a sweep on this machine: its commands in order, each in a process of its own.

A step is done when its output says so: a finished manifest, a passed verification, complete results. So
it does not matter who ran it, and an interrupted sweep goes on where it stopped.
"""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from ...errors import InputError, ManifestError
from ...export.contract import manifest
from ...locks import try_lock
from ...serve.engine.process import EngineProcess
from ..record.results import Results, read
from .grid import Step, SweepPoint

__all__ = ["Outcome", "Stopped", "bench_results", "is_done", "run_steps"]

POLL_SECONDS = 0.2
LOG_TAIL_BYTES = 20_000
LOCK_NAME = "dotresize-bench.lock"


class Stopped(Exception):
    """The sweep was told to stop; the step's processes are gone."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How the steps of a point ended."""

    point: str
    failed_step: str = ""  # empty: all went well
    error: str = ""  # the step's last words
    seconds: Mapping[str, float]  # of the steps that ran; those that were done already have none


def run_steps(
    point: SweepPoint,
    names: tuple[str, ...],
    *,
    environment: Mapping[str, str] | None = None,
    stop: Event | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Outcome:
    """Run the steps of these names that are not done; the first that fails ends it.

    Args:
        point: what to run.
        names: of `compress`, `verify` and `bench`.
        environment: added to the present one.
        stop: set by another thread to end the running step.
        tell: told when a step starts and ends.

    Raises:
        Stopped: `stop` was set.
    """
    stop = stop or Event()
    seconds: dict[str, float] = {}
    Path(point.directory).mkdir(parents=True, exist_ok=True)
    for step in (step for step in point.steps if step.name in names):
        if is_done(point, step.name):
            continue
        started = time.monotonic()
        with _alone(stop, tell) if step.name == "bench" else _together():
            tell(f"{point.name}: {step.name}")
            code = _run(point, step, {**os.environ, **(environment or {})}, stop)
        seconds[step.name] = time.monotonic() - started
        if code != 0:
            error = _last_words(_log(point, step.name), code)
            tell(f"{point.name}: {step.name} failed: {error}")
            return Outcome(point=point.name, failed_step=step.name, error=error, seconds=seconds)
        tell(f"{point.name}: {step.name} done, {seconds[step.name]:.0f} s")
    return Outcome(point=point.name, seconds=seconds)


def is_done(point: SweepPoint, step: str) -> bool:
    """Whether the step's output is finished."""
    if step == "bench":
        results = bench_results(point)
        return results is not None and all(each.status != "failed" for each in results.measurements)
    try:
        record = manifest.read(Path(point.model_directory))
    except ManifestError:
        return False
    return step == "compress" or record.verified is True


def bench_results(point: SweepPoint) -> Results | None:
    """The point's complete results; None when there are none yet."""
    try:
        results = read(Path(point.bench_directory) / "results.json")
    except InputError:
        return None
    return results if results.complete else None


def _run(point: SweepPoint, step: Step, environment: Mapping[str, str], stop: Event) -> int:
    """Exit code of the step; its processes are gone on return, however it ended."""
    for left in Path(point.directory).glob(".*.tmp"):  # of a step that was killed while it wrote
        shutil.rmtree(left, ignore_errors=True)
    go_on = ("--resume",) if step.name == "bench" and Path(point.bench_directory).exists() else ()
    command = [sys.executable, "-P", "-m", "dotresize.cli", *step.arguments, *go_on]
    with EngineProcess(command, environment, _log(point, step.name)) as process:
        while (code := process.poll()) is None:
            if stop.wait(POLL_SECONDS):
                raise Stopped
    return code


def _log(point: SweepPoint, step: str) -> Path:
    return Path(point.directory) / f"{step}.log"


def _last_words(log: Path, code: int) -> str:
    """The error that the command printed last, or its last line."""
    with log.open("rb") as stream:
        stream.seek(max(0, log.stat().st_size - LOG_TAIL_BYTES))
        text = stream.read().decode(errors="replace").replace("\r", "\n")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error:")]
    last = (errors or lines or ["it printed nothing"])[-1].removeprefix("error:").strip()
    return f"{last[:400]} (exit code {code}, see {log})"


@contextmanager
def _together() -> Iterator[None]:
    yield


@contextmanager
def _alone(stop: Event, tell: Callable[[str], None]) -> Iterator[None]:
    """Hold this machine's lock for benchmarks: two at a time would measure each other."""
    descriptor = _open_lock(Path(tempfile.gettempdir()) / LOCK_NAME)
    try:
        told = False
        while not try_lock(descriptor):
            if not told:
                tell("waiting for another benchmark on this machine to end")
                told = True
            if stop.wait(POLL_SECONDS):
                raise Stopped
        yield
    finally:
        os.close(descriptor)


def _open_lock(path: Path) -> int:
    """Another user's lock file serves too: reading it is enough to lock it."""
    try:
        return os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)
