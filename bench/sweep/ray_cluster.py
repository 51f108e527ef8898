"""A Ray cluster: the one that is there, or one on this machine alone; and a sweep on it.

Ray schedules; nothing here does. A compression asks for its share of a machine's cores, a benchmark for all
of them, so that nothing else of Ray's runs beside it. Every machine has to see the sweep's directory under
the same path, and to have dotresize in the Python that Ray uses.
"""

import importlib.util
import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ...errors import EngineError, MissingDependencyError
from .grid import SweepPoint
from .point import Outcome, run_steps

__all__ = ["RayExecutor", "connected_ray", "gpus_each", "open_ray"]

STOP_SECONDS = 30.0  # for the tasks to end their processes
OBJECT_STORE_BYTES = 100_000_000  # of a local Ray: only outcomes travel


@contextmanager
def open_ray(jobs: int, *, device: str, tell: Callable[[str], None]) -> Iterator["RayExecutor"]:
    """An executor on a cluster, or on a local Ray that ends with the block.

    Raises:
        MissingDependencyError: Ray is not installed.
        EngineError: neither can be had.
    """
    with connected_ray(tell) as machines:
        yield RayExecutor(jobs, device=device, machines=machines, tell=tell)


@contextmanager
def connected_ray(tell: Callable[[str], None]) -> Iterator[list[dict[str, float]]]:
    """Connect to a cluster, or start a local Ray that ends with the block; yields each machine's resources.

    Raises:
        MissingDependencyError: Ray is not installed.
        EngineError: neither can be had.
    """
    if importlib.util.find_spec("ray") is None:
        raise MissingDependencyError(
            "the ray executor needs Ray, which is not installed; use --executor local, or install it with: "
            'pip install "dotresize[ray]"'
        )
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read when Ray is imported
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "ignore_reinit_error": True}
    try:
        try:
            ray.init(address="auto", **quiet)
            where = f"the Ray cluster at {ray.get_runtime_context().gcs_address}"
        except ConnectionError:  # there is none
            ray.init(include_dashboard=False, object_store_memory=OBJECT_STORE_BYTES, **quiet)
            where = "a local Ray, because no cluster was found"
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise EngineError(f"Ray cannot be reached or started: {error}; or use --executor local") from error
    try:
        machines = [
            node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")
        ]
        tell(f"running on {where}: {len(machines)} machine{'s' * (len(machines) != 1)}")
        yield machines
    finally:
        ray.shutdown()


def gpus_each(device: str, machines: Sequence[Mapping[str, float]]) -> int:
    """GPUs that a task or an actor asks for: with `auto` one, when any of the machines has one."""
    has_gpu = any(resources.get("GPU") for resources in machines)
    return 1 if device == "cuda" or (device == "auto" and has_gpu) else 0


class RayExecutor:
    """See `sweep.Executor`."""

    def __init__(
        self, jobs: int, *, device: str, machines: list[dict[str, float]], tell: Callable[[str], None]
    ) -> None:
        """Plan what a task asks for.

        Args:
            jobs: compressions at a time on each machine.
            device: auto asks for a GPU when any machine has one.
            machines: the resources of each; the smallest decides, so that every machine can run every task.
            tell: told when a point starts and ends.
        """
        self._tell = tell
        self._cores = int(min(resources["CPU"] for resources in machines))
        self._jobs = min(jobs, self._cores)
        self._gpus = gpus_each(device, machines)

    def run(self, points: Sequence[SweepPoint], steps: tuple[str, ...]) -> Generator[Outcome, None, None]:
        """As `Executor.run`."""
        import ray

        cores = self._cores if "bench" in steps else max(1, self._cores // self._jobs)
        task = ray.remote(num_cpus=cores, num_gpus=self._gpus, max_retries=0)(run_on_worker)
        folder = str(Path.cwd())
        names = {task.remote(point, steps, folder): point.name for point in points}
        waiting = list(names)
        self._tell(f"{', '.join(steps)}: {len(waiting)} points, {cores} cores and {self._gpus} GPUs each")
        try:
            while waiting:
                done, waiting = ray.wait(waiting, num_returns=1)
                yield self._outcome(done[0], names[done[0]], steps)
        finally:
            for reference in waiting:
                ray.cancel(reference)
            if waiting:
                ray.wait(waiting, num_returns=len(waiting), timeout=STOP_SECONDS)

    def _outcome(self, reference: Any, name: str, steps: tuple[str, ...]) -> Outcome:
        """How a point ended, also when its machine was lost."""
        import ray

        try:
            outcome = ray.get(reference)
        except ray.exceptions.RayError as error:
            reason = str(error).strip().splitlines()[-1]
            outcome = Outcome(point=name, failed_step=steps[0], error=f"Ray: {reason}", seconds={})
        assert isinstance(outcome, Outcome)
        self._tell(
            f"{name}: {outcome.failed_step + ' failed: ' + outcome.error if outcome.failed_step else 'done'}"
        )
        return outcome


def run_on_worker(point: SweepPoint, steps: tuple[str, ...], folder: str) -> Outcome:
    """The body of a Ray task: the commands name paths as they were seen from `folder`."""
    os.chdir(folder)
    return run_steps(point, steps)
