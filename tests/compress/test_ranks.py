"""Two processes with gloo write what one writes, and go on after one of them was lost."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close
from transformers import AutoModelForCausalLM

from dotresize.compress.output.resume import work_path
from dotresize.compress.streams.ranks import Ranks
from dotresize.errors import OptionError

WORKER = Path(__file__).with_name("ranks_worker.py")
AXES = ("--hidden-size", "0.75", "--intermediate-size", "0.75", "--kv-groups", "1", "--layers", "2")
CHOICE = ("--mlp-method", "fisher")
WINDOWS = ("--calibration-windows", "48", "--window-tokens", "128")  # three batches
OTHERS = ("--calibration", "builtin:documentation", "--evaluation", "none", "--stream-memory", "0")

# with AMX the neuron steps' products have bfloat16 inputs, whose rounding the batches of a process change
PRODUCTS = {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}


def launch(processes: int, model: Path, output: Path, *more: str, dies: str = "none") -> tuple[int, str]:
    """The exit code, and what was said."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    launcher += ["--monitor-interval", "2"]  # so that a survivor can say what happened before it is ended
    command = ["compress", model, "-o", output, *OTHERS, *WINDOWS, *more]
    ended = subprocess.run(
        [sys.executable, *launcher, str(WORKER), dies, *map(str, command)],
        timeout=600,
        capture_output=True,
        text=True,
        env=os.environ | PRODUCTS,
    )
    return ended.returncode, ended.stderr


def logits(directory: Path) -> Tensor:
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    with torch.no_grad():
        found: Tensor = model(torch.arange(100)[None]).logits
    return found


@pytest.mark.slow
def test_two_processes_write_what_one_writes_though_one_is_lost(pico_llama: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    status, said = launch(2, pico_llama, output, *AXES, *CHOICE, dies="1")
    assert status != 0
    assert "error: another process of this run has ended or cannot be reached" in said
    assert "internal error" not in said
    assert not output.exists()
    assert {path.name for path in work_path(output).glob("layer-*")} == {"layer-00000.json"}
    assert launch(2, pico_llama, output, *AXES, *CHOICE)[0] == 0
    # the sums that the fits solve are float64: in another order they differ by less than float32 shows
    one = tmp_path / "one"
    assert launch(1, pico_llama, one, *AXES, *CHOICE)[0] == 0
    assert_close(logits(output), logits(one), rtol=0, atol=1e-5)
    assert {path.name for path in tmp_path.iterdir()} == {"out", "one"}


def test_each_window_is_owned_once_in_whole_batches() -> None:
    for windows, tokens in ((48, 128), (7, 4096), (33, 500)):
        for count in (1, 2, 3, 5):
            owned = [Ranks(number=number, count=count).owned(windows, tokens) for number in range(count)]
            flat = [window for part in owned for window in range(part.start, part.stop)]
            assert flat == list(range(windows))
            step = max(1, 2048 // tokens)
            assert all(part.start % step == 0 for part in owned if part.start < windows)


def test_more_processes_than_batches_are_refused() -> None:
    Ranks(count=3).check(48, 128)
    with pytest.raises(OptionError, match=r"4 processes were started, but 48 windows of 128 tokens are 3"):
        Ranks(count=4).check(48, 128)
