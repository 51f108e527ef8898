"""Is there room on the disk? Asked before a weight is read, of what is sure to be written.

The predictions leave out what is small (tokenizer, manifest, reference), so they never refuse what fits.
"""

import math
import shutil
from collections.abc import Iterable
from pathlib import Path

from ...compress.weights.files import TensorHeader, read_headers
from ...errors import OutputError
from .outputs import nearest_directory

__all__ = ["check_room", "free_bytes_at", "matrix_bytes", "stored_headers"]


def check_room(target: Path, parts: dict[str, int], *, free_bytes: int) -> None:
    """Refuse an output that cannot fit, with what is missing.

    Args:
        target: What is about to be written.
        parts: What takes the room, in words -> bytes, at least.
        free_bytes: Of the output's file system, see `free_bytes_at`.

    Raises:
        OutputError: Less is free than all parts together need.
    """
    needed_bytes = sum(parts.values())
    if free_bytes >= needed_bytes:
        return
    named = ", ".join(f"{_readable(count)} for {what}" for what, count in parts.items() if count)
    raise OutputError(
        f"{target} needs at least {_readable(needed_bytes)} on the disk ({named}), and "
        f"{_readable(free_bytes)} are free in {nearest_directory(target)}; free some space, or choose an "
        "output on a larger disk"
    )


def free_bytes_at(target: Path) -> int:
    """What this user may still write on the file system that `target` is, or will be, on.

    Raises:
        OutputError: The nearest directory that exists cannot be asked.
    """
    directory = nearest_directory(target)
    try:
        return shutil.disk_usage(directory).free
    except OSError as error:
        raise OutputError(f"{target} cannot be written: {error.strerror}; choose another output") from error


def stored_headers(directory: Path) -> list[TensorHeader]:
    """Shape and dtype of every tensor of a checkpoint of ours."""
    return list(read_headers(sorted(directory.glob("*.safetensors"))).values())


def matrix_bytes(headers: Iterable[TensorHeader], per_weight_bytes: float) -> int:
    """What the matrices among some tensors take at least; vectors are small and left out.

    Args:
        headers: Tensors as they are stored now.
        per_weight_bytes: Of one weight as it will be written, e.g. 0.5 in four bits.
    """
    weights = sum(math.prod(header.shape) for header in headers if len(header.shape) > 1)
    return int(weights * per_weight_bytes)


def _readable(count: int) -> str:
    return f"{count / 1e9:,.2f} GB" if count >= 1e7 else f"{count / 1e6:,.2f} MB"
