"""Candidates side by side: processes of this machine, or actors on a Ray cluster, each with its own model.

Much of a candidate's time is spent where more threads do not help, so two processes with half the cores each
are nearly twice as fast. Each holds the original in memory.
"""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from tqdm import tqdm

from ..bench.sweep.ray_cluster import connected_ray, gpus_each
from ..compress.weights.source import open_model
from ..errors import EngineError, OptionError
from .axes import Candidate
from .measure import Recipe, Score, Scorer
from .search_state import Measured

__all__ = ["Workers", "open_workers"]

PARENT_SECONDS = 1.0  # how often a worker looks whether its parent lives
MOST_ACTORS = 64  # no generation has more candidates


@dataclass(frozen=True, kw_only=True)
class Workers:
    """Who measures candidates.

    Attributes:
        jobs: candidates at a time, on each machine.
        executor: local processes, or Ray: the cluster that is there, or a local one.
    """

    jobs: int = 1
    executor: Literal["local", "ray"] = "local"

    def __post_init__(self) -> None:
        if self.jobs < 1:
            raise OptionError(f"--jobs is {self.jobs}; it must be at least 1.")
        if self.executor not in ("local", "ray"):
            raise OptionError(f"--executor is {self.executor!r}; choose one of local, ray.")


@contextmanager
def open_workers(workers: Workers, recipe: Recipe, tell: Callable[[str], None]) -> Iterator[Score]:
    """What measures candidates; every process ends with the block.

    Args:
        workers: who; one local job is this process.
        recipe: how.
        tell: told where Ray runs.

    Raises:
        MissingDependencyError: Ray was asked for and is not installed.
        EngineError: it cannot be had.
    """
    if workers.executor == "ray":
        with connected_ray(tell) as machines:
            yield _on_ray(recipe, workers.jobs, machines)
    elif workers.jobs == 1:
        yield _one_by_one(_loaded(recipe))
    else:
        with _processes(recipe, workers.jobs) as score:
            yield score


def _one_by_one(scorer: Scorer) -> Score:
    def score(candidates: Sequence[Candidate], rung: int) -> Iterator[tuple[int, Measured]]:
        for place, candidate in enumerate(candidates):
            yield place, scorer(candidate, rung)

    return score


def _loaded(recipe: Recipe) -> Scorer:
    dense = open_model(recipe.model, trust_remote_code=recipe.base.trust_remote_code).load()
    return Scorer(dense, recipe)


# Of one worker process.
_scorer: Scorer | None = None


def _start(recipe: Recipe, threads: int, parent: int) -> None:
    global _scorer
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers
    tqdm.set_lock(threading.RLock())  # its own is a semaphore of the system, left over when a worker is ended
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    torch.set_num_threads(threads)
    _scorer = _loaded(recipe)


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_SECONDS)
    os._exit(1)


def _score(candidate: Candidate, rung: int) -> Measured:
    assert _scorer is not None
    return _scorer(candidate, rung)


@contextmanager
def _processes(recipe: Recipe, jobs: int) -> Iterator[Score]:
    threads = max(1, torch.get_num_threads() // jobs)
    pool = ProcessPoolExecutor(
        jobs,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start,
        initargs=(recipe, threads, os.getpid()),
    )

    def score(candidates: Sequence[Candidate], rung: int) -> Iterator[tuple[int, Measured]]:
        try:
            places: dict[Future[Measured], int] = {
                pool.submit(_score, candidate, rung): place for place, candidate in enumerate(candidates)
            }
            for done in as_completed(places):
                yield places[done], done.result()
        except BrokenProcessPool as error:
            raise EngineError(
                f"a process that measures candidates has ended, perhaps for want of memory: {jobs} hold the "
                "original at a time. Give fewer --jobs; the same command goes on with what was measured."
            ) from error

    try:
        yield score
    except BaseException:  # what they measure now is no longer wanted
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class _Actor:
    """A worker of Ray."""

    def __init__(self, recipe: Recipe, threads: int, folder: str) -> None:
        os.chdir(folder)  # paths are named as they were seen from there
        torch.set_num_threads(threads)
        self._scorer = _loaded(recipe)

    def score(self, place: int, candidate: Candidate, rung: int) -> tuple[int, Measured]:
        """With the place, because actors end in any order."""
        return place, self._scorer(candidate, rung)


def _on_ray(recipe: Recipe, jobs: int, machines: list[dict[str, float]]) -> Score:
    import ray
    from ray.util import ActorPool

    cores = int(min(resources["CPU"] for resources in machines))
    threads = max(1, cores // jobs)
    gpus = gpus_each(recipe.base.device, machines)
    places = [min(jobs, int(each["CPU"]) // threads) for each in machines]
    if gpus:  # an actor that finds no GPU waits for ever
        places = [min(count, int(each.get("GPU", 0))) for count, each in zip(places, machines, strict=True)]
    count = min(MOST_ACTORS, sum(places))
    if not count:
        raise EngineError(
            f"no machine of Ray has what --device {recipe.base.device} asks for; use --device cpu"
        )
    actor = ray.remote(num_cpus=threads, num_gpus=gpus)(_Actor)
    folder = str(Path.cwd())
    pool = ActorPool([actor.remote(recipe, threads, folder) for _ in range(count)])

    def score(candidates: Sequence[Candidate], rung: int) -> Iterator[tuple[int, Measured]]:
        tasks = [(place, candidate, rung) for place, candidate in enumerate(candidates)]

        def submit(worker: Any, task: tuple[int, Candidate, int]) -> Any:
            return worker.score.remote(*task)

        try:
            yield from pool.map_unordered(submit, tasks)
        except ray.exceptions.RayError as error:
            raise EngineError(f"Ray: {str(error).strip().splitlines()[-1]}") from error

    return score
