"""An endpoint under load, through the real server and the real client."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import mean, stdev

import pytest

from dotresize.bench.measure.arrivals import arrival_seconds, rate_requests
from dotresize.bench.measure.online import Online, online_requests
from dotresize.bench.measure.schedule import Turn
from dotresize.bench.record.results import BenchModel
from dotresize.bench.record.settings import BenchSettings

SETTINGS = BenchSettings(
    engine="onnx",
    scenarios=("online",),
    input_tokens=8,
    output_tokens=6,
    concurrency=(1, 3),
    dtype="float32",
    device="cpu",
)
JOB = Turn(0, "A", "online", (1, 3))


def test_every_request_is_timed_token_by_token(pico_onnx_models: list[BenchModel], tmp_path: Path) -> None:
    measured = Online(SETTINGS, tmp_path).measure(pico_onnx_models[0], JOB)
    assert [(each.load, each.status, each.error) for each in measured] == [(1, "ok", ""), (3, "ok", "")]
    for each in measured:
        count = online_requests(each.load)
        assert len(each.samples["ttft_seconds"]) == len(each.samples["e2e_seconds"]) == count
        assert len(each.samples["itl_seconds"]) == count * (SETTINGS.output_tokens - 1)
        for ttft, tpot, e2e in zip(
            *(each.samples[f"{name}_seconds"] for name in ("ttft", "tpot", "e2e")), strict=True
        ):
            assert e2e == pytest.approx(ttft + 5 * tpot, abs=1e-5)
        (rate,) = each.samples["output_tokens_per_second"]
        assert rate <= each.load * 6 / min(each.samples["e2e_seconds"])
        assert each.peak_memory_bytes is not None


def test_requests_arrive_whether_the_engine_is_ready_or_not(
    pico_onnx_models: list[BenchModel], tmp_path: Path
) -> None:
    settings = replace(SETTINGS, request_rates=(4.0,))
    (measured,) = Online(settings, tmp_path).measure(pico_onnx_models[0], Turn(1, "A", "rate", (4 * 60,)))
    assert (measured.scenario, measured.load, measured.status, measured.error) == ("rate", 240, "ok", "")
    assert len(measured.samples["ttft_seconds"]) == rate_requests(4.0) == 40
    (finished,) = measured.samples["requests_per_second"]
    assert finished <= 40 / arrival_seconds(40, 4.0, settings.seed, 1)[-1]


def test_arrivals_are_a_seeded_poisson_process() -> None:
    """Gaps of mean 1 / rate, of few as of many, and as large a standard deviation: of 4,000 within 5 %."""
    arrivals = arrival_seconds(4001, 2.0, 42, 0)
    gaps = [later - earlier for earlier, later in pairwise(arrivals)]
    assert arrivals[0] == 0
    assert mean(gaps) == pytest.approx(0.5)
    assert arrival_seconds(20, 0.5, 42, 0)[-1] == pytest.approx(38.0)
    assert stdev(gaps) == pytest.approx(0.5, rel=0.05)
    assert arrivals == arrival_seconds(4001, 2.0, 42, 0)
    assert arrivals != arrival_seconds(4001, 2.0, 42, 1)
    assert rate_requests(0.5) == 20


def test_an_endpoint_that_does_not_start_is_recorded(
    pico_onnx_models: list[BenchModel], tmp_path: Path
) -> None:
    broken = replace(pico_onnx_models[0], path=str(tmp_path))
    measured = Online(SETTINGS, tmp_path).measure(broken, JOB)
    assert [each.status for each in measured] == ["failed", "failed"]
    assert "holds no genai_config.json" in measured[0].error


def test_requests_that_the_engine_refuses_are_counted(
    pico_onnx_models: list[BenchModel], tmp_path: Path
) -> None:
    too_long = replace(SETTINGS, input_tokens=300, concurrency=(1,))  # the model has 256 positions
    (measured,) = Online(too_long, tmp_path).measure(pico_onnx_models[0], Turn(0, "A", "online", (1,)))
    assert measured.status == "failed"
    assert measured.error.startswith("8 of 8 requests failed: HTTP 400")
