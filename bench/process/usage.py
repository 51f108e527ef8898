"""What a watched process tree used, added to a measurement."""

from dataclasses import replace

from ..record.results import Measurement
from .memory_watch import WatchReport

__all__ = ["with_usage"]


def with_usage(measurement: Measurement, used: WatchReport) -> Measurement:
    """Add memory, power and foreign load; peaks of several runs of one measurement are the largest."""
    return replace(
        measurement,
        peak_memory_bytes=_largest(measurement.peak_memory_bytes, used.peak_bytes),
        peak_gpu_memory_bytes=_largest(measurement.peak_gpu_memory_bytes, used.peak_gpu_bytes),
        mean_gpu_power_watts=used.mean_gpu_watts,
        busy_elsewhere=used.busy_elsewhere
        if measurement.busy_elsewhere is None
        else max(measurement.busy_elsewhere, used.busy_elsewhere or 0.0),
    )


def _largest(first: int | None, second: int | None) -> int | None:
    known = [value for value in (first, second) if value is not None]
    return max(known) if known else None
