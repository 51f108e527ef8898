"""The unit of compression time, and the memory prediction against a real compression in its own process."""

import json
import subprocess
import sys
from pathlib import Path

import torch

from dotresize.bench.compress_cost import forward_seconds, predicted_peak_bytes
from dotresize.compress.config import CompressConfig
from dotresize.compress.run import compress
from dotresize.compress.source import load_dense

TEXT = str(Path(__file__).parents[1] / "compress" / "text.txt")
CHILD = """
import json, sys, psutil
from dotresize.bench.compress_cost import predicted_peak_bytes
from dotresize.compress.config import CompressConfig
from dotresize.compress.run import compress
from dotresize.compress.source import load_dense
model, text = sys.argv[1:]
dense = load_dense(model)
config = CompressConfig(hidden_size=48, calibration=text, calibration_windows=6, window_tokens=64)
compress(dense, config)  # what libraries allocate once is part of the base
base = psutil.Process().memory_info().rss
result = compress(dense, config)
print(json.dumps([base, predicted_peak_bytes(result.report, base, 2048), result.cost.peak_memory_bytes]))
"""


def test_a_forward_pass_takes_time_that_grows_with_the_tokens(pico_llama: Path) -> None:
    dense = load_dense(str(pico_llama))
    few, many = (torch.zeros(windows, 512, dtype=torch.int64) for windows in (1, 64))
    forward_seconds(dense, few)
    assert 0 < forward_seconds(dense, few) < forward_seconds(dense, many)


def test_the_prediction_holds_the_streams_and_the_narrow_weights(pico_llama: Path) -> None:
    dense = load_dense(str(pico_llama))
    config = CompressConfig(hidden_size=48, calibration=TEXT, calibration_windows=6, window_tokens=64)
    report = compress(dense, config).report
    heads = report.dense.num_attention_heads * report.dense.head_dim
    streams = 6 * 64 * (report.dense.hidden_size + 48 + heads) * 4
    predicted = predicted_peak_bytes(report, 0, 2048)
    assert predicted > streams + report.narrow_counts.weight_bytes
    assert predicted_peak_bytes(report, 1000, 2048) == predicted + 1000


def test_a_pico_compression_stays_near_its_prediction(pico_llama: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(pico_llama), TEXT], capture_output=True, text=True, check=True
    )
    base, predicted, peak = json.loads(done.stdout.splitlines()[-1])
    assert predicted > base
    assert peak < predicted + 100e6  # libraries' own buffers, on a model of a few megabytes
