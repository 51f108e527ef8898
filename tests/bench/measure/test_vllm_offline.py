"""vLLM's own benchmarks, started by us, on the real model: what CI can afford of the whole pipeline."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from dotresize.bench.measure.schedule import Turn
from dotresize.bench.measure.vllm_bench_entry import AND, parts_of
from dotresize.bench.measure.vllm_offline import VllmOffline
from dotresize.bench.record.results import read
from dotresize.bench.record.settings import BenchSettings
from dotresize.bench.roofline.model_cost import describe
from dotresize.errors import ModelError

TINY = BenchSettings(
    engine="vllm",
    scenarios=("throughput",),
    input_tokens=16,
    output_tokens=8,
    dtype="float32",
    device="cpu",
    engine_flags=("--enforce-eager",),
)


def test_a_cache_that_cannot_fit_is_marked_and_not_tried(pico_llama: Path, tmp_path: Path) -> None:
    model = describe(pico_llama, name="A", source="A", dtype="float32")
    hungry = BenchSettings(
        engine="vllm", scenarios=("latency",), dtype="float32", device="cpu", input_tokens=9
    )
    (measured,) = VllmOffline(hungry, tmp_path).measure(
        replace(model, kv_bytes_per_token=10**10), Turn(0, "A", "latency", (1,))
    )
    assert measured.status == "out of memory"
    assert "GiB of KV cache beside the weights" in measured.error


def test_a_vocabulary_too_small_for_vllm_bench_is_refused(pico_llama: Path, tmp_path: Path) -> None:
    pytest.importorskip("vllm")
    model = describe(pico_llama, name="pico", source="A", dtype="float32")
    settings = BenchSettings(engine="vllm", input_tokens=16, output_tokens=8, dtype="float32", device="cpu")
    with pytest.raises(ModelError, match="pico has 384 tokens; `vllm bench latency` draws ids up to 10000"):
        VllmOffline(settings, tmp_path).check([model])


def test_several_benchmarks_of_one_engine_keep_their_flags_apart() -> None:
    assert parts_of(["--output-len", "1", AND, "--output-len", "8"]) == [
        ["--output-len", "1"],
        ["--output-len", "8"],
    ]


@pytest.mark.slow
@pytest.mark.vllm
def test_throughput_of_a_pico_model(pico_llama: Path, tmp_path: Path) -> None:
    pytest.importorskip("vllm")
    model = describe(pico_llama, name="A", source="A", dtype="float32")
    (measured,) = VllmOffline(TINY, tmp_path).measure(model, Turn(0, "A", "throughput", (3,)))
    assert measured.status == "ok", measured.error
    (requests,) = measured.samples["requests_per_second"]
    assert measured.samples["output_tokens_per_second"] == [pytest.approx(8 * requests)]


@pytest.mark.slow
@pytest.mark.vllm
def test_the_pipeline_on_the_real_model(
    smollm2_directory: Path, narrow_smollm2_directory: Path, tmp_path: Path
) -> None:
    """Latency, an endpoint under load, memory and quality through real vLLM, from the command line."""
    pytest.importorskip("vllm")
    command = [
        *("bench", str(smollm2_directory), str(narrow_smollm2_directory), "-o", str(tmp_path / "report")),
        *(
            "--engine",
            "vllm",
            "--scenarios",
            "latency,online,memory,quality",
            "--rounds",
            "1",
            "--repeats",
            "1",
        ),
        *("--input-tokens", "16", "--output-tokens", "8", "--batch-sizes", "1", "--concurrency", "2"),
        *("--evaluation-windows", "1", "--window-tokens", "256", "--dtype", "float32", "--json"),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "dotresize.cli", *command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    results = read(tmp_path / "report" / "results.json")
    assert json.loads(done.stdout.splitlines()[-1])["summary"] == results.summary
    assert {each.status for each in results.measurements} == {"ok"}
    assert {(each.scenario, each.load) for each in results.measurements} == {
        ("memory", 1),
        ("latency", 1),
        ("online", 2),
    }
    original, narrow = results.memory
    assert original.kv_bytes_per_token_predicted == 2 * 30 * 3 * 64 * 4
    assert original.kv_bytes_per_token_measured == pytest.approx(46080, rel=0.01)
    assert narrow.kv_bytes_per_token_predicted == original.kv_bytes_per_token_predicted  # heads stay
    assert results.quality is not None
    ratio = results.quality.models[1].perplexity_ratio
    assert ratio is not None
    assert 1.0 < ratio.value < 3.0
    for name in ("report.html", "report.md"):
        assert results.summary[0].split(":")[0].split(",")[0] in (tmp_path / "report" / name).read_text()
