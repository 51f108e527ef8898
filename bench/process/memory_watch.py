"""Memory, power and foreign load while an engine works, sampled from outside.

    with MemoryWatch(engine.pid) as watch:
        ...
    watch.report.peak_bytes

Pages that several processes of the tree share are counted once where the kernel tells (proportional set
size). The kernel walks all pages for that number (2.5 ms of CPU per resident GB here, during which the
process may wait), so it is read when the tree has grown by a twentieth, and otherwise as rarely as our
share of the machine allows; between two readings the overlap is taken as unchanged. A lone process needs no
such reading. Outside of growth the watcher stays below one percent of one core.
"""

import os
import threading
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter, thread_time
from types import TracebackType

import psutil

from ...serve.client.process_tree import process_tree
from .nvml import Nvml, open_nvml

__all__ = ["MemoryWatch", "WatchReport"]

INTERVAL_SECONDS = 0.05
OWN_SHARE = 0.003  # of one core, for samples, for proportional sizes and for new processes each
TREE_SECONDS = 1.0  # how often new processes are looked for
LONGEST_WAIT_SECONDS = 1.0
GROWTH = 1.05  # proportional sizes are read at once when the estimated sum grew by this factor
KIBIBYTE = 1024
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, kw_only=True)
class WatchReport:
    """What was seen. None: not measured here."""

    peak_bytes: int | None  # resident memory of the tree; None when it was never seen alive
    shared_counted_once: bool  # false: some process did not let us read its proportional size
    peak_gpu_bytes: int | None  # of the tree's processes; of the whole devices where they are not told apart
    mean_gpu_watts: float | None  # of all devices
    busy_elsewhere: float | None  # share of all cores that processes outside the tree and other guests used
    stolen: float | None  # the part of it that the hypervisor gave to other guests
    samples: int
    own_share: float  # of one core, spent by the watcher


@dataclass
class _Seen:
    """Running maxima and sums of the sampling thread."""

    peak: int = 0
    overlap: int = 0  # resident sum less proportional sum, when last read
    overlap_cost: float = 0.0  # CPU seconds of reading it, within this sample
    overlap_due: float = 0.0  # when to read it again, in seconds of perf_counter
    shared_counted_once: bool = True
    gpu: int | None = None
    watts: list[float] = field(default_factory=list)
    samples: int = 0
    own_seconds: float = 0.0
    cpu_first: dict[int, float] = field(default_factory=dict)  # pid -> CPU seconds when watching began
    cpu_last: dict[int, float] = field(default_factory=dict)


class MemoryWatch:
    """Watch a process and its descendants from a thread of our own; see the module's text.

    Args:
        pid: Root of the engine's process tree. It may die while it is watched.
        interval_seconds: Between samples, at least; more where a sample is expensive.
    """

    def __init__(self, pid: int, *, interval_seconds: float = INTERVAL_SECONDS) -> None:
        self._pid = pid
        self._interval = interval_seconds
        self._stop = threading.Event()
        self._seen = _Seen()
        self._report: WatchReport | None = None

    @property
    def report(self) -> WatchReport:
        """What was seen; there once the block has ended.

        Raises:
            RuntimeError: The block has not ended.
        """
        if self._report is None:
            raise RuntimeError("MemoryWatch has no report before its block ends")
        return self._report

    def __enter__(self) -> "MemoryWatch":
        self._processes = process_tree(self._pid)
        self._started, self._machine = perf_counter(), _machine_cpu_seconds()
        self._read_cpu()
        self._seen.cpu_first = dict(self._seen.cpu_last)
        self._thread = threading.Thread(target=self._run, name="memory-watch", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._read_cpu()
        self._report = self._conclude()

    def _run(self) -> None:
        with open_nvml() as nvml:
            started, tree_due = thread_time(), perf_counter() + TREE_SECONDS
            while True:
                if perf_counter() > tree_due:
                    before = thread_time()
                    self._processes = process_tree(self._pid)
                    self._read_cpu()
                    cost = (thread_time() - before) / OWN_SHARE
                    tree_due = perf_counter() + max(TREE_SECONDS, cost)
                before = thread_time()
                self._sample(nvml)
                cost = (thread_time() - before - self._seen.overlap_cost) / OWN_SHARE
                self._seen.own_seconds = thread_time() - started
                if self._stop.wait(max(self._interval, min(cost, LONGEST_WAIT_SECONDS))):
                    break
            self._sample(nvml)

    def _sample(self, nvml: Nvml | None) -> None:
        seen = self._seen
        pids = [process.pid for process in self._processes]
        resident = [size for pid in pids if (size := _resident_bytes(pid)) is not None]
        total, now, seen.overlap_cost = sum(resident), perf_counter(), 0.0
        if len(resident) < 2:
            seen.overlap = 0
        elif now > seen.overlap_due or total - seen.overlap > GROWTH * seen.peak:
            before = thread_time()
            seen.overlap = max(0, total - self._proportional(pids))
            seen.overlap_cost = thread_time() - before
            seen.overlap_due = now + seen.overlap_cost / OWN_SHARE
        seen.peak = max(seen.peak, total - seen.overlap)
        if nvml is not None:
            used = nvml.memory_bytes(pids)
            used = nvml.device_memory_bytes() if used is None else used
            seen.gpu = max(seen.gpu or 0, used)
            watts = nvml.power_watts()
            seen.watts += [] if watts is None else [watts]
        seen.samples += 1

    def _proportional(self, pids: list[int]) -> int:
        """Sum of proportional sizes; the resident size stands in where one cannot be read."""
        total = 0
        for pid in pids:
            size = _proportional_bytes(pid)
            if size is None:
                size = _resident_bytes(pid) or 0
                self._seen.shared_counted_once = self._seen.shared_counted_once and not size
            total += size
        return total

    def _read_cpu(self) -> None:
        for process in self._processes:
            try:
                times = process.cpu_times()
            except psutil.Error:
                continue
            self._seen.cpu_last[process.pid] = times.user + times.system

    def _conclude(self) -> WatchReport:
        seen, wall = self._seen, max(perf_counter() - self._started, 1e-9)
        tree = sum(last - seen.cpu_first.get(pid, 0.0) for pid, last in seen.cpu_last.items())
        busy, stolen = (now - then for now, then in zip(_machine_cpu_seconds(), self._machine, strict=True))
        capacity = (os.cpu_count() or 1) * wall
        return WatchReport(
            peak_bytes=seen.peak or None,
            shared_counted_once=seen.shared_counted_once,
            peak_gpu_bytes=seen.gpu,
            mean_gpu_watts=sum(seen.watts) / len(seen.watts) if seen.watts else None,
            busy_elsewhere=min(1.0, max(0.0, (busy + stolen - tree) / capacity)),
            stolen=min(1.0, max(0.0, stolen / capacity)),
            samples=seen.samples,
            own_share=seen.own_seconds / wall,
        )


def _machine_cpu_seconds() -> tuple[float, float]:
    """CPU seconds of all cores since boot: in use by this system, and taken by the hypervisor."""
    times = psutil.cpu_times()  # `user` and `nice` already hold the time of guests
    busy = times.user + times.nice + times.system + times.irq + times.softirq
    return busy, times.steal


def _resident_bytes(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * PAGE_BYTES
    except (OSError, IndexError):
        return None


def _proportional_bytes(pid: int) -> int | None:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = (line.split()[1] for line in lines if line.startswith("Pss:"))
    return int(next(found, "0")) * KIBIBYTE or None
