"""Compress, verify and bench a grid of widths; resumable, on this machine or on a Ray cluster.

On one machine all compressions come first, `jobs` at a time, then all benchmarks one after the other:
a compression beside a benchmark would be measured with it. Benchmarks hold a lock of the machine as well,
so two sweeps do not disturb each other either.
"""

import os
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event
from typing import Any, Literal, Protocol

from ...errors import OutputError
from ...locks import locked
from .grid import SweepPoint, SweepSettings, plan_points
from .point import Outcome, is_done, run_steps
from .state import SWEEP_NAME, check_same_sweep, collect, write_state, write_sweep_report

__all__ = ["PREPARE", "run_sweep"]

PREPARE = ("compress", "verify")
MEASURE = ("bench",)


class Executor(Protocol):
    """Runs points somewhere, at most so many at a time, and hands out how they ended, in any order."""

    def run(self, points: Sequence[SweepPoint], steps: tuple[str, ...]) -> Generator[Outcome, None, None]:
        """Leaving the iterator early stops every process that was started."""
        ...


def run_sweep(
    settings: SweepSettings,
    *,
    command: str,
    jobs: int = 1,
    executor: Literal["local", "ray"] = "local",
    resume: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Run every step that is not done, and write sweep.json, sweep.md, commands.sh and the report.

    Args:
        settings: the grid.
        command: what reproduces the sweep, for the report.
        jobs: compressions at a time, on each machine.
        executor: threads of this process, or Ray: the cluster that is there, or a local one.
        resume: go on with an earlier sweep, keeping every step whose output is finished.
        tell: told one line when something starts or ends.

    Returns:
        The content of sweep.json; the status of every point says whether it failed, and why.

    Raises:
        OutputError: the directory is in the way, or cannot be written.
        OptionError: an earlier sweep there made a point with other options.
        MissingDependencyError: Ray was asked for and is not installed.
    """
    points, directory = plan_points(settings), Path(settings.directory)
    check_free(directory, resume=resume)
    check_same_sweep(points, directory)
    outcomes: dict[str, Outcome] = {}
    with _locked(directory):

        def record() -> dict[str, Any]:
            sweep = collect(settings, points, outcomes, command)
            write_state(sweep, points, directory)
            return sweep

        record()
        with _open_executor(executor, jobs, settings, tell) as runner:
            for steps in (PREPARE, MEASURE):
                left = [point for point in points if _has_work(point, steps, outcomes.get(point.name))]
                if not left:
                    continue
                with closing(runner.run(left, steps)) as ended:
                    for outcome in ended:
                        outcomes[outcome.point] = outcome
                        record()
        sweep = record()
        write_sweep_report(sweep, points, directory)
    return sweep


def check_free(directory: Path, *, resume: bool) -> None:
    """Refuse a directory that holds anything but a sweep to resume.

    Raises:
        OutputError: it is in the way.
    """
    if directory.exists() and not directory.is_dir():
        raise OutputError(f"{directory} is a file, expected a directory for the sweep")
    if not directory.is_dir() or not any(directory.iterdir()) or resume:
        return
    if (directory / SWEEP_NAME).is_file():
        raise OutputError(
            f"{directory} holds a sweep already; go on with it by --resume, or choose another one"
        )
    raise OutputError(f"{directory} holds files already; choose another directory")


def _has_work(point: SweepPoint, steps: tuple[str, ...], outcome: Outcome | None) -> bool:
    """Whether a step is left to do, and no earlier one failed."""
    if outcome is not None and outcome.failed_step:
        return False
    return not all(is_done(point, step) for step in steps)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Keep a second sweep out of the same directory."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{directory} cannot be written: {error.strerror}") from error
    with locked(directory / ".lock", what=str(directory)):
        yield


@contextmanager
def _open_executor(
    name: str, jobs: int, settings: SweepSettings, tell: Callable[[str], None]
) -> Iterator[Executor]:
    if name == "ray":
        from .ray_cluster import open_ray

        with open_ray(jobs, device=settings.bench.device, tell=tell) as runner:
            yield runner
    else:
        yield LocalExecutor(jobs, tell)


class LocalExecutor:
    """Threads that wait for processes."""

    def __init__(self, jobs: int, tell: Callable[[str], None]) -> None:
        self._jobs, self._tell = jobs, tell

    def run(self, points: Sequence[SweepPoint], steps: tuple[str, ...]) -> Generator[Outcome, None, None]:
        """As `Executor.run`; benchmarks one at a time."""
        jobs = 1 if "bench" in steps else min(self._jobs, max(1, len(points)))
        environment = thread_limits(jobs)
        stop = Event()
        with ThreadPoolExecutor(max_workers=jobs) as pool:
            waiting = {
                pool.submit(run_steps, point, steps, environment=environment, stop=stop, tell=self._tell)
                for point in points
            }
            try:
                while waiting:
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    for future in done:
                        yield future.result()
            finally:
                stop.set()
                pool.shutdown(wait=True, cancel_futures=True)


def thread_limits(jobs: int) -> dict[str, str]:
    """Share the cores between the compressions; one alone, or a choice of the user's, is left as it is."""
    if jobs == 1 or "OMP_NUM_THREADS" in os.environ:
        return {}
    return {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // jobs))}
