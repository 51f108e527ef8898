"""Oracles: the libraries' own versions, the system's own files."""

import os
import subprocess
import sys

import psutil
import pytest

from dotresize.bench.process.environment import read_environment
from dotresize.bench.process.nvml import open_nvml


def test_it_says_what_the_system_says() -> None:
    import torch
    import transformers

    found = read_environment()
    assert found.cores == os.cpu_count()
    assert found.memory_bytes == psutil.virtual_memory().total
    assert found.processor
    assert found.versions["torch"] == torch.__version__
    assert found.versions["transformers"] == transformers.__version__
    assert found.load_average is not None


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys; from dotresize.bench.process.environment import read_environment; read_environment(); "
        "print([name for name in ('torch', 'transformers', 'onnxruntime', 'vllm') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_no_gpu_is_none_and_no_guess() -> None:
    with open_nvml() as session:
        if session is not None:
            pytest.skip("there is an NVIDIA GPU here")
    found = read_environment()
    assert (found.gpu, found.gpu_memory_bytes, found.gpu_driver, found.gpu_clock_megahertz) == (None,) * 4


@pytest.mark.gpu
def test_a_gpu_is_described() -> None:
    with open_nvml() as session:
        if session is None:
            pytest.skip("no NVIDIA GPU, driver or nvidia-ml-py here")
        assert session.device_memory_bytes() >= 0
    found = read_environment()
    assert found.gpu
    assert found.gpu_memory_bytes
    assert found.gpu_clock_megahertz
