"""How much memory is free for this process, and how much of it what is only convenient to keep may take."""

import ctypes
from contextlib import suppress
from pathlib import Path

import psutil

__all__ = ["default_stream_bytes", "free_memory_bytes", "map_large_blocks", "release_free_blocks"]

_SHARE = 4  # one part of so many of what is free
_GROUPS = Path("/sys/fs/cgroup")
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # mallopt(3)
_LARGE_BLOCK_BYTES = 2**20


def free_memory_bytes() -> int:
    """What the machine has available, within the limit of the control group where one can be read."""
    available = int(psutil.virtual_memory().available)
    for limit, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        numbers = [_number(_GROUPS / name) for name in (limit, used)]
        if None not in numbers:
            available = min(available, max(0, numbers[0] - numbers[1]))  # type: ignore[operator]
    return available


def _number(file: Path) -> int | None:
    text = file.read_text().strip() if file.is_file() else ""
    return int(text) if text.isdigit() else None


def release_free_blocks() -> None:
    """Give back to the system what is free between the blocks of glibc's heap (malloc_trim(3)).

    Blocks below 32 MiB lie there, and their holes stay, so that a process would grow with every layer. Other
    C libraries are left as they are.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def map_large_blocks() -> None:
    """From now on, a block of a mebibyte and more goes back to the system as soon as it is freed.

    Training needs it: what a forward pass saves lies between what it frees, and glibc does not fill such
    holes with aligned blocks, so that the heap grows to twice what is in use. Other C libraries are left as
    they are.
    """
    with suppress(OSError, AttributeError):
        heap = ctypes.CDLL(None).mallopt
        heap(_MMAP_THRESHOLD, _LARGE_BLOCK_BYTES)
        heap(_TRIM_THRESHOLD, _LARGE_BLOCK_BYTES)


def default_stream_bytes(processes: int = 1) -> int:
    """A quarter of what is free: what residual streams and layers that are used again may take.

    Args:
        processes: on this machine, which share it.
    """
    return free_memory_bytes() // _SHARE // processes
