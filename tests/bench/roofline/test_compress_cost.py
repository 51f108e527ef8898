"""The unit of compression time, and what the memory prediction counts (measured: docs/QUALITY.md)."""

from dataclasses import replace
from pathlib import Path

import torch

from dotresize.bench.roofline.compress_cost import forward_seconds, predicted_peak_bytes, streamed_peak_bytes
from dotresize.compress.record.config import CompressConfig
from dotresize.compress.record.report import Counts
from dotresize.compress.run import compress
from dotresize.compress.weights.source import load_dense

from ...text import TEXT


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


def test_what_the_loss_feels_takes_every_layers_input_once(pico_llama: Path) -> None:
    config = CompressConfig(intermediate_size=0.5, calibration=TEXT, calibration_windows=6, window_tokens=64)
    dense = load_dense(str(pico_llama))
    plain = compress(dense, config).report
    felt = compress(dense, replace(config, mlp_method="fisher")).report
    more = predicted_peak_bytes(felt, 0, 2048) - predicted_peak_bytes(plain, 0, 2048)
    assert more > 0
    deeper = replace(felt, dense=replace(felt.dense, num_hidden_layers=felt.dense.num_hidden_layers + 10))
    added = predicted_peak_bytes(deeper, 0, 2048) - predicted_peak_bytes(felt, 0, 2048)
    assert added == 10 * 6 * 64 * felt.dense.hidden_size * 4


def test_what_the_loss_feels_of_one_long_window_counts_all_of_it(pico_llama: Path) -> None:
    config = CompressConfig(
        intermediate_size=0.5, mlp_method="fisher", calibration=TEXT, calibration_windows=6, window_tokens=64
    )
    felt = compress(load_dense(str(pico_llama)), config).report
    long = replace(felt, calibration=replace(felt.calibration, windows=2, window_tokens=20_000))
    deeper = replace(long, dense=replace(long.dense, num_hidden_layers=long.dense.num_hidden_layers + 10))
    added = predicted_peak_bytes(deeper, 0, 2048) - predicted_peak_bytes(long, 0, 2048)
    assert added == 10 * 20_000 * felt.dense.hidden_size * 4


def test_a_model_in_its_files_takes_its_largest_parts_only(pico_llama: Path) -> None:
    """As many layers as there may be: they are not in memory together."""
    report = compress(
        load_dense(str(pico_llama)),
        CompressConfig(hidden_size=48, calibration=TEXT, calibration_windows=6, window_tokens=64),
    ).report

    def predicted(layers: int, stream_bytes: int) -> int:
        def deep(counts: Counts) -> Counts:
            size = layers * counts.layer_parameters
            more = 4 * (size - counts.layer_parameters)  # float32
            return replace(counts, layer_parameters=size, weight_bytes=counts.weight_bytes + more)

        sizes = replace(
            report,
            dense=replace(report.dense, num_hidden_layers=3 * layers),
            narrow=replace(report.narrow, num_hidden_layers=3 * layers),
            dense_counts=deep(report.dense_counts),
            narrow_counts=deep(report.narrow_counts),
        )
        return streamed_peak_bytes(
            sizes, tokens=6 * 64, compensate="full", base_bytes=0, stream_bytes=stream_bytes
        )

    assert predicted(1, 0) == predicted(100, 0)
    assert predicted(100, 10**12) > 4 * 100 * report.narrow_counts.layer_parameters  # kept for the reference
