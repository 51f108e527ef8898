"""What NVIDIA's management library knows: names, memory, power and clocks. Read, never set."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

__all__ = ["Gpu", "Nvml", "open_nvml"]

MILLIWATTS = 1000


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One device. None: the driver does not say."""

    name: str
    memory_bytes: int
    driver: str
    clock_megahertz: dict[str, int]


class Nvml:
    """An open session; made by `open_nvml`."""

    def __init__(self, library: Any) -> None:
        self._library = library
        count = library.nvmlDeviceGetCount()
        self._devices = [library.nvmlDeviceGetHandleByIndex(index) for index in range(count)]

    def gpus(self) -> list[Gpu]:
        """All devices of the machine."""
        driver = _text(self._library.nvmlSystemGetDriverVersion())
        return [
            Gpu(
                name=_text(self._library.nvmlDeviceGetName(device)),
                memory_bytes=int(self._library.nvmlDeviceGetMemoryInfo(device).total),
                driver=driver,
                clock_megahertz=self._clocks(device),
            )
            for device in self._devices
        ]

    def memory_bytes(self, pids: Collection[int]) -> int | None:
        """GPU memory of these processes on all devices.

        None where the driver does not tell processes apart, or, as inside a container, numbers them
        otherwise, so that none of them is found.
        """
        used = []
        for device in self._devices:
            for process in self._processes(device):
                if process.pid in pids and process.usedGpuMemory is not None:
                    used.append(int(process.usedGpuMemory))
        return sum(used) if used else None

    def device_memory_bytes(self) -> int:
        """Memory in use on all devices, by whatever process."""
        return sum(int(self._library.nvmlDeviceGetMemoryInfo(device).used) for device in self._devices)

    def power_watts(self) -> float | None:
        """Sum over all devices; None where one does not say."""
        watts = []
        for device in self._devices:
            try:
                watts.append(self._library.nvmlDeviceGetPowerUsage(device) / MILLIWATTS)
            except self._library.NVMLError:
                return None
        return sum(watts) if watts else None

    def _processes(self, device: Any) -> list[Any]:
        try:
            return list(self._library.nvmlDeviceGetComputeRunningProcesses(device))
        except self._library.NVMLError:
            return []

    def _clocks(self, device: Any) -> dict[str, int]:
        library = self._library
        kinds = {"graphics": library.NVML_CLOCK_GRAPHICS, "memory": library.NVML_CLOCK_MEM}
        clocks = {}
        for name, kind in kinds.items():
            try:
                clocks[name] = int(library.nvmlDeviceGetClockInfo(device, kind))
                clocks[f"{name} maximum"] = int(library.nvmlDeviceGetMaxClockInfo(device, kind))
            except library.NVMLError:
                continue
        return clocks


@contextmanager
def open_nvml() -> Iterator[Nvml | None]:
    """A session, or None: no nvidia-ml-py, no driver, or no device."""
    try:
        import pynvml
    except ImportError:
        yield None
        return
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield None
        return
    try:
        session = Nvml(pynvml)
        yield session if session.gpus() else None
    finally:
        pynvml.nvmlShutdown()


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
