"""Two processes with gloo reach the weights of one with the same global batch."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.testing import assert_close

WORKER = Path(__file__).with_name("worker.py")


@pytest.mark.slow
def test_two_processes_reach_the_weights_of_one(
    pico_llama: Path, narrow_directory: Path, windows: Tensor, tmp_path: Path
) -> None:
    torch.save(windows, tmp_path / "windows.pt")
    found = {}
    for processes in (1, 2):
        work, out = tmp_path / f"work-{processes}", tmp_path / f"{processes}.safetensors"
        work.mkdir()
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
        arguments = [str(path) for path in (WORKER, pico_llama, narrow_directory, work, out)]
        subprocess.run([sys.executable, *launcher, *arguments], check=True, timeout=300)
        found[processes] = load_file(out)
    # float32 sums in another order, four steps of Adam
    assert_close(found[2], found[1], rtol=1e-3, atol=1e-5)
