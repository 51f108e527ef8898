"""Oracles: sums by hand on a model with round numbers, and a synthetic engine with a known overhead."""

from dataclasses import replace

import pytest

from dotresize.bench.record.results import BenchModel, Ceiling, MachineRates, PartCost
from dotresize.bench.record.settings import BenchSettings
from dotresize.bench.roofline.ceiling import (
    batch_sizes_of,
    ceilings,
    predicted_seconds,
    read_rate,
    speedup_ceiling,
)
from dotresize.bench.roofline.explain import explain

RATES = MachineRates(
    device="cpu",
    dtype="float32",
    threads=1,
    matrix_flops_per_second=1e12,
    read_bytes_per_second=1e9,
    seconds_spent=0.0,
)
SETTINGS = BenchSettings(
    engine="transformers", scenarios=("latency",), input_tokens=100, output_tokens=20, batch_sizes=(1, 4)
)


def cost(megabytes: float) -> PartCost:
    size = int(megabytes * 1e6)
    return PartCost(weight_bytes=size, decode_bytes=size, loaded_bytes=size, flops_per_token=size / 2)


def model(name: str, mlp: float) -> BenchModel:
    table = PartCost(weight_bytes=4_000_000, decode_bytes=400, loaded_bytes=4_000_000, flops_per_token=0.0)
    return BenchModel(
        name=name,
        source=name,
        path=name,
        format="huggingface",
        precision="float32",
        sha256="",
        tokenizer_sha256="",
        hidden_size=100,
        intermediate_size=1,
        num_hidden_layers=10,
        num_attention_heads=4,
        num_key_value_heads=4,
        head_dim=25,
        vocab_size=10_000,
        parameters=1,
        weight_bytes=1,
        kv_bytes_per_token=1000,
        parts={
            "embedding": table,
            "attention": cost(10),
            "mlp": cost(mlp),
            "norm": cost(0),
            "head": cost(20),
        },
        compute_dtype="float32",
    )


DENSE, NARROW = model("dense", 60), model("narrow", 30)
BOTH = ceilings([DENSE, NARROW], SETTINGS, RATES)


def one(phase: str, batch_size: int, name: str = "dense") -> Ceiling:
    (found,) = (c for c in BOTH if (c.model, c.phase, c.batch_size) == (name, phase, batch_size))
    return found


def test_a_decode_step_reads_all_weights_once() -> None:
    single, four = one("decode", 1), one("decode", 4)
    assert single.seconds_by_part["mlp"] == pytest.approx(0.06)  # 60 MB at 1 GB/s
    assert single.bound_by_part["mlp"] == "bytes"
    assert four.seconds_by_part["mlp"] == single.seconds_by_part["mlp"]
    context = (100 + 20 / 2) * 1000 / 1e9  # tokens x bytes at 1 GB/s
    assert single.seconds_by_part["context"] == pytest.approx(context)
    assert four.seconds_by_part["context"] == pytest.approx(4 * context)
    assert single.seconds == pytest.approx(0.06 + 0.01 + 0.02 + 400e-9 + context)


def test_a_prefill_is_bound_by_flops_once_it_has_rows() -> None:
    many = ceilings([DENSE], replace(SETTINGS, input_tokens=10_000), RATES)[0]
    assert many.phase == "prefill"
    assert many.bound_by_part["mlp"] == "flops"
    assert many.seconds_by_part["mlp"] == pytest.approx(10_000 * 30e6 / 1e12)
    assert many.bound_by_part["head"] == "bytes"  # one row
    # 4 D FLOPs per head, layer and pair of positions (scores and weighted sum), half of the square is masked
    pairs = sum(range(1, 10_001))
    assert many.seconds_by_part["context"] == pytest.approx(4 * 25 * 4 * 10 * pairs / 1e12)


def test_a_graph_that_computes_all_logits_pays_for_them() -> None:
    graph = replace(DENSE, head_every_position=True)
    settings = replace(SETTINGS, input_tokens=10_000)
    prefill, decode = ceilings([graph], settings, RATES)[:2]
    assert prefill.seconds_by_part["head"] == pytest.approx(10_000 * 10e6 / 1e12)
    assert decode.seconds_by_part["head"] == pytest.approx(0.02)


def test_speed_ups_of_every_metric() -> None:
    def of(metric: str) -> float | None:
        return speedup_ceiling(
            BOTH, original="dense", narrow="narrow", metric=metric, batch_size=4, output_tokens=20
        )

    prefills = one("prefill", 4).seconds, one("prefill", 4, "narrow").seconds
    decodes = one("decode", 4).seconds, one("decode", 4, "narrow").seconds
    assert of("ttft_seconds") == pytest.approx(prefills[0] / prefills[1])
    assert of("tpot_seconds") == of("itl_seconds") == pytest.approx(decodes[0] / decodes[1])
    mix = [prefill + 19 * decode for prefill, decode in zip(prefills, decodes, strict=True)]
    assert of("e2e_seconds") == of("output_tokens_per_second") == pytest.approx(mix[0] / mix[1])


def test_what_was_not_computed_is_none() -> None:
    arguments = {"original": "dense", "narrow": "narrow", "metric": "e2e_seconds", "output_tokens": 20}
    assert speedup_ceiling(BOTH, batch_size=3, **arguments) is None  # type: ignore[arg-type]
    assert speedup_ceiling(BOTH, batch_size=1, kernels=True, **arguments) is None  # type: ignore[arg-type]


def test_timed_kernels_make_a_ceiling_of_their_own() -> None:
    times = {
        (name, phase, 1): {"attention": 0.02, "mlp": mlp, "head": 0.03}
        for name, mlp in (("dense", 0.1), ("narrow", 0.08))
        for phase in ("prefill", "decode")
    }
    found = ceilings([DENSE, NARROW], SETTINGS, RATES, times)  # type: ignore[arg-type]
    kernel = predicted_seconds(
        found, model="dense", metric="tpot_seconds", batch_size=1, output_tokens=20, kernels=True
    )
    rest = one("decode", 1).seconds_by_part
    assert kernel == pytest.approx(0.15 + rest["context"] + rest["embedding"] + rest["norm"])


def test_loads_of_all_scenarios_have_a_ceiling() -> None:
    settings = BenchSettings(engine="vllm", batch_sizes=(1, 8), concurrency=(4, 8), requests=64)
    assert batch_sizes_of(settings) == [1, 4, 8, 64]
    assert batch_sizes_of(replace(settings, scenarios=("memory",))) == []


def test_read_rates_between_sizes() -> None:
    rates = replace(RATES, read_rates=[(2**20, 40e9), (2**24, 20e9), (2**30, 10e9)])
    assert read_rate(rates, 1000) == 40e9  # smaller than measured: the rate of the smallest
    assert read_rate(rates, 2**22) == pytest.approx(30e9)  # half-way in the logarithm
    assert read_rate(rates, 2**24) == pytest.approx(20e9)
    assert read_rate(rates, 2**40) == 10e9
    assert read_rate(RATES, 5) == RATES.read_bytes_per_second  # older results have no table


def explained(original_seconds: float, narrow_seconds: float, found: list[Ceiling]) -> str:
    return explain(
        found,
        original="dense",
        narrow="narrow",
        metric="tpot_seconds",
        batch_size=1,
        output_tokens=20,
        original_seconds=original_seconds,
        narrow_seconds=narrow_seconds,
    )


def with_kernels(dense: dict[str, float], narrow: dict[str, float]) -> list[Ceiling]:
    times = {"dense": dense, "narrow": narrow}
    return [replace(ceiling, kernel_seconds_by_part=times[ceiling.model]) for ceiling in BOTH]


def test_a_good_fraction_needs_no_explanation() -> None:
    dense, narrow = one("decode", 1).seconds, one("decode", 1, "narrow").seconds
    assert explained(dense, narrow, BOTH) == ""
    assert explained(dense * 1.2, narrow * 1.3, BOTH) == ""


def test_a_constant_overhead_is_the_engine() -> None:
    """40 ms on top of each model's kernels: all that is missing comes from there."""
    exact = {part: 1.0 * one("decode", 1).seconds_by_part[part] for part in ("attention", "mlp", "head")}
    found = with_kernels(exact, {**exact, "mlp": 0.03})
    dense, narrow = one("decode", 1).seconds, one("decode", 1, "narrow").seconds
    missing = 0.04 * (1 - narrow / dense)  # overhead_narrow - overhead_original / ceiling
    text = explained(dense + 0.04, narrow + 0.04, found)
    assert f"{missing * 1e3:.3g} ms of the {(narrow + 0.04) * 1e3:.3g} ms" in text
    assert "in the engine: it adds 40 ms (40% of the time; 40 ms with the original)" in text


def test_a_slow_head_is_named_with_the_fact_that_it_was_not_narrowed() -> None:
    slow = {"attention": 0.01, "mlp": 0.06, "head": 0.08}  # the roofline of the head is 20 ms
    found = with_kernels(slow, {**slow, "mlp": 0.03})
    dense, narrow = one("decode", 1).seconds + 0.06, one("decode", 1, "narrow").seconds + 0.06
    text = explained(dense, narrow, found)
    assert "in the head, which was not narrowed: its matrices alone take 80 ms" in text
    assert "bytes and FLOPs would allow 20 ms" in text


def test_a_kernel_that_dislikes_the_width_is_named() -> None:
    found = with_kernels(
        {"attention": 0.01, "mlp": 0.06, "head": 0.02}, {"attention": 0.01, "mlp": 0.055, "head": 0.02}
    )
    text = explained(one("decode", 1).seconds, one("decode", 1, "narrow").seconds + 0.025, found)
    assert "in the mlp: its matrices alone take 55 ms" in text
    assert "not narrowed" not in text


def test_without_kernels_they_are_not_told_apart() -> None:
    text = explained(one("decode", 1).seconds, one("decode", 1).seconds, BOTH)
    assert "kernels and engine together, because no kernels were timed" in text
