"""What decides the written bytes, as one hash: finished layers are taken over only by a run with the same."""

import hashlib
import importlib.metadata
import json
import sys
from typing import TYPE_CHECKING

import torch

from ..version import __version__
from .record.config import Settings

if TYPE_CHECKING:
    from .text.calibration import Windows
    from .weights.dense import Dense

__all__ = ["identity_of", "versions"]


def identity_of(
    dense: "Dense", settings: Settings, windows: "Windows", dtype: torch.dtype, device: torch.device
) -> str:
    """A hash of everything that decides the written bytes.

    The model's config counts beside its weights, and the processor that computes beside the name that was
    asked for: another one rounds differently. How many processes share the windows does not count: it changes
    the order of float64 sums only, and a run that lost a machine goes on with fewer.
    """
    parts = [
        dense.source.sha256,
        dense.source.architecture,
        dense.config.to_dict(),
        {name: value for name, value in settings.to_dict().items() if name != "device"},
        windows.record.sha256,
        str(dtype),
        _processor(device),
        versions(),
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def versions() -> dict[str, str]:
    """Of this package and of those that compute."""
    packages = ("torch", "transformers", "numpy", "pot")
    return {"dotresize": __version__, "python": sys.version.split()[0]} | {
        package: importlib.metadata.version(package) for package in packages
    }


def _processor(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)} {torch.cuda.get_device_capability(device)}"
    return f"cpu {torch.backends.cpu.get_cpu_capability()}"
