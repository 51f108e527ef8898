"""The unit of compression time, and what the memory prediction counts (measured: docs/QUALITY.md)."""

from pathlib import Path

import torch

from dotresize.bench.roofline.compress_cost import forward_seconds, predicted_peak_bytes
from dotresize.compress.config import CompressConfig
from dotresize.compress.run import compress
from dotresize.compress.source import load_dense

TEXT = str(Path(__file__).parents[2] / "compress" / "text.txt")


def test_a_forward_pass_takes_time_that_grows_with_the_tokens(pico_llama: Path) -> None:
    dense = load_dense(str(pico_llama))
    few, many = (torch.zeros(windows, 512, dtype=torch.int64) for windows in (1, 64))
    forward_seconds(dense, few)
    assert 0 < forward_seconds(dense, few) < forward_seconds(dense, many)


def test_the_prediction_holds_the_streams_and_the_narrow_weights(pico_llama: Path) -> None:
    dense = load_dense(str(pico_llama))
    config = CompressConfig(hidden_size=48, calibration=TEXT, calibration_windows=6, window_tokens=64)
    report = compress(dense, config).report
    streams = 6 * 64 * (report.dense.hidden_size + 48) * 4
    predicted = predicted_peak_bytes(report, 0, 2048)
    assert predicted > streams + report.narrow_counts.weight_bytes
    assert predicted_peak_bytes(report, 1000, 2048) == predicted + 1000
