"""The engines that generate in static batches, in their own processes."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dotresize.bench.measure.local_engine import LocalEngine
from dotresize.bench.measure.schedule import Turn
from dotresize.bench.measure.token_ids import random_prompts
from dotresize.bench.record.results import BenchModel
from dotresize.bench.record.settings import BenchSettings
from dotresize.bench.roofline.model_cost import describe

ONNX = BenchSettings(
    engine="onnx",
    scenarios=("latency", "throughput"),
    input_tokens=8,
    output_tokens=5,
    batch_sizes=(2,),
    repeats=2,
    dtype="float32",
    device="cpu",
)


def test_onnx_runs_batches_of_a_fixed_length(pico_onnx_models: list[BenchModel], tmp_path: Path) -> None:
    (measured,) = LocalEngine(ONNX, tmp_path).measure(pico_onnx_models[0], Turn(0, "A", "latency", (2,)))
    assert (measured.status, measured.error) == ("ok", "")
    for ttft, tpot, e2e in zip(
        *(measured.samples[f"{name}_seconds"] for name in ("ttft", "tpot", "e2e")), strict=True
    ):
        assert e2e == pytest.approx(ttft + 4 * tpot)
    assert len(measured.samples["e2e_seconds"]) == ONNX.repeats


def test_throughput_counts_all_requests(pico_onnx_models: list[BenchModel], tmp_path: Path) -> None:
    (measured,) = LocalEngine(ONNX, tmp_path).measure(pico_onnx_models[1], Turn(0, "B", "throughput", (5,)))
    assert measured.status == "ok", measured.error
    (requests,) = measured.samples["requests_per_second"]
    assert measured.samples["output_tokens_per_second"] == [pytest.approx(requests * 5)]


def test_a_batch_that_cannot_fit_is_marked_and_not_tried(pico_llama: Path, tmp_path: Path) -> None:
    settings = replace(ONNX, engine="transformers", batch_sizes=(1,))
    model = describe(pico_llama, name="A", source="A", dtype="float32")
    hungry = replace(model, kv_bytes_per_token=10**12)  # as if every token took a terabyte
    (measured,) = LocalEngine(settings, tmp_path).measure(hungry, Turn(0, "A", "latency", (1,)))
    assert measured.status == "out of memory"
    assert "weights and KV cache need" in measured.error
    assert list(tmp_path.iterdir()) == []  # nothing was started


def test_everyone_gets_the_same_token_ids() -> None:
    first = random_prompts(3, 7, vocab_size=384, seed=5)
    assert np.array_equal(first, random_prompts(3, 7, vocab_size=384, seed=5))
    assert not np.array_equal(first, random_prompts(3, 7, vocab_size=384, seed=6))
    assert first.shape == (3, 7)
    assert first.min() >= 0
    assert first.max() < 384


@pytest.mark.gpu
def test_cuda_times_come_from_events(pico_llama: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("needs an NVIDIA GPU")
    settings = replace(ONNX, engine="transformers", device="cuda", dtype="bfloat16")
    model = describe(pico_llama, name="A", source="A", dtype="bfloat16")
    (measured,) = LocalEngine(settings, tmp_path).measure(model, Turn(0, "A", "latency", (2,)))
    assert measured.status == "ok", measured.error
    assert measured.peak_gpu_memory_bytes
    assert measured.mean_gpu_power_watts
