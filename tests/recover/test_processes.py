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


def launch(processes: int, *arguments: str | Path) -> int:
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    return subprocess.run(
        [sys.executable, *launcher, str(WORKER), *map(str, arguments)], timeout=600
    ).returncode


@pytest.mark.slow
def test_two_processes_reach_the_weights_of_one(
    pico_llama: Path, narrow_directory: Path, windows: Tensor, tmp_path: Path
) -> None:
    torch.save(windows, tmp_path / "windows.pt")
    found = {}
    for name, processes, how in (("one", 1, ""), ("two", 2, ""), ("shards", 2, "shard")):
        work, out = tmp_path / name, tmp_path / f"{name}.safetensors"
        work.mkdir()
        assert launch(processes, pico_llama, narrow_directory, work, out, how) == 0
        found[name] = load_file(out)
    # float32 sums in another order, four steps of Adam
    assert_close(found["two"], found["one"], rtol=1e-3, atol=1e-5)
    assert_close(found["shards"], found["one"], rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_shards_go_on_after_a_kill(
    pico_llama: Path, narrow_directory: Path, windows: Tensor, tmp_path: Path
) -> None:
    torch.save(windows, tmp_path / "windows.pt")
    found = {}
    for name, ways in (("whole", ["shard"]), ("parts", ["shard-killed", "shard"])):
        work, out = tmp_path / name, tmp_path / f"{name}.safetensors"
        work.mkdir()
        for how in ways:
            ended = launch(2, pico_llama, narrow_directory, work, out, how)
            assert (ended == 0) == (how == "shard")
        if how == ways[-1]:
            found[name] = load_file(out)
    assert list((tmp_path / "parts" / "trainer").glob("checkpoint-*"))
    assert_close(found["parts"], found["whole"], rtol=0, atol=0)
