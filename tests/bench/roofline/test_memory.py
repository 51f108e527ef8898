"""Oracles: sums by hand."""

from dataclasses import replace

import pytest

from dotresize.bench.record.results import BenchModel, Measurement, PartCost
from dotresize.bench.record.settings import BenchSettings
from dotresize.bench.roofline.memory import Loaded, memory_records, tokens_that_fit

SETTINGS = BenchSettings(engine="onnx", input_tokens=10, output_tokens=6)


def model(name: str, weights: int, kv: int = 10) -> BenchModel:
    part = PartCost(weight_bytes=weights, decode_bytes=weights, loaded_bytes=weights, flops_per_token=0.0)
    return BenchModel(
        name=name,
        source=name,
        path=name,
        format="onnx",
        precision="fp32",
        sha256="",
        tokenizer_sha256="",
        hidden_size=1,
        intermediate_size=1,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
        head_dim=1,
        vocab_size=50,
        parameters=1,
        weight_bytes=weights + 7,
        kv_bytes_per_token=kv,
        parts={"mlp": part},
    )


def measured(
    name: str, load: int, peak: int | None, gpu: int | None = None, status: str = "ok"
) -> Measurement:
    return Measurement(
        model=name,
        round=0,
        scenario="latency",
        load=load,
        status=status,  # type: ignore[arg-type]
        peak_memory_bytes=peak,
        peak_gpu_memory_bytes=gpu,
    )


DENSE, NARROW = model("dense", 1000), model("narrow", 750)


def test_tokens_that_fit_in_twice_the_weights_of_the_original() -> None:
    dense, narrow = memory_records([DENSE, NARROW], SETTINGS, [], {})
    assert dense.reference_tokens == narrow.reference_tokens == 100  # 1000 bytes of cache, 10 each
    assert (dense.tokens_that_fit, narrow.tokens_that_fit) == (100, 125)
    assert (dense.weight_bytes_on_disk, dense.weight_bytes_predicted) == (1007, 1000)


@pytest.mark.parametrize(("weights", "kv", "tokens"), [(1000, 5, 200), (2000, 10, 0), (3000, 10, 0)])
def test_tokens_that_fit(weights: int, kv: int, tokens: int) -> None:
    assert tokens_that_fit(DENSE, model("other", weights, kv), 100) == tokens


def test_predicted_beside_measured() -> None:
    measurements = [
        measured("dense", 1, 2000),
        measured("dense", 4, 9000),
        measured("dense", 8, 99_000, status="out of memory"),
        measured("narrow", 4, 8000),
    ]
    dense, narrow = memory_records(
        [DENSE, NARROW], SETTINGS, measurements, {"dense": Loaded(weight_bytes=1100, base_bytes=500)}
    )
    # base + weights + 4 sequences x 16 tokens x 10 bytes + 4 rows of 50 float32 logits
    assert dense.peak_bytes_predicted == 500 + 1000 + 4 * 16 * 10 + 4 * 50 * 4
    assert (dense.peak_bytes_measured, dense.weight_bytes_loaded, dense.on_gpu) == (9000, 1100, False)
    assert narrow.peak_bytes_measured == 8000
    assert narrow.peak_bytes_predicted is None  # nobody measured the engine before it loaded
    assert narrow.weight_bytes_loaded is None


def test_a_graph_with_all_logits_holds_them() -> None:
    graph = replace(DENSE, head_every_position=True)
    (record,) = memory_records([graph], SETTINGS, [measured("dense", 4, 1)], {"dense": Loaded(base_bytes=0)})
    assert record.peak_bytes_predicted == 1000 + 4 * 16 * 10 + 4 * 10 * 50 * 4


def test_vllm_takes_the_cache_that_it_is_told_to() -> None:
    settings = replace(SETTINGS, engine="vllm")
    (record,) = memory_records([DENSE], settings, [measured("dense", 4, 1)], {"dense": Loaded(base_bytes=1)})
    assert record.peak_bytes_predicted is None


def test_gpu_memory_goes_before_resident_memory() -> None:
    (record,) = memory_records(
        [DENSE], SETTINGS, [measured("dense", 1, 50, 70), measured("dense", 2, 60)], {}
    )
    assert (record.peak_bytes_measured, record.on_gpu) == (70, True)
