"""Whole benchmarks on pico models with the transformers engine: real processes, interrupts and crashes."""

import fcntl
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from dotresize.bench.record.results import Results, read, write
from dotresize.bench.record.settings import BenchSettings
from dotresize.bench.run import run_bench
from dotresize.compress.record.progress import Silent
from dotresize.errors import InputError, ModelError, OptionError, OutputError

from .example_results import example_results

SETTINGS = BenchSettings(
    engine="transformers",
    scenarios=("latency", "throughput", "memory", "quality"),
    input_tokens=8,
    output_tokens=4,
    batch_sizes=(1, 2),
    requests=4,
    rounds=2,
    repeats=2,
    dtype="float32",
    device="cpu",
    text_windows=2,
    text_window_tokens=64,
)
LATENCY = replace(SETTINGS, scenarios=("latency",), batch_sizes=(1,))


class CtrlC(Silent):
    """Interrupts when three jobs have been measured."""

    _left: int | None = None

    def begin(self, step: str, units: int) -> None:
        self._left = 3 if step == "measuring" else None

    def advance(self, units: int = 1) -> None:
        if self._left is not None:
            self._left -= units
            if self._left == 0:
                raise KeyboardInterrupt


class Interrupted(NamedTuple):
    """A benchmark that was interrupted, and went on."""

    directory: Path
    half: Results  # after three measurements
    refused: OutputError  # the same command once more, without --resume


@pytest.fixture(scope="session")
def sources(pico_llama: Path, pico_llama_untied: Path) -> list[str]:
    return [str(pico_llama), str(pico_llama_untied)]


@pytest.fixture(scope="session")
def interrupted(sources: list[str], tmp_path_factory: pytest.TempPathFactory) -> Interrupted:
    """A finished benchmark of two pico models, in two goes; read-only."""
    directory = tmp_path_factory.mktemp("bench") / "report"
    with pytest.raises(KeyboardInterrupt):
        run_bench(sources, SETTINGS, directory, command="dotresize bench ...", progress=CtrlC())
    half = read(directory / "results.json")
    with pytest.raises(OutputError) as refused:
        run_bench(sources, SETTINGS, directory, command="")
    run_bench(sources, SETTINGS, directory, command="", resume=True)
    return Interrupted(directory, half, refused.value)


@pytest.fixture(scope="session")
def report(interrupted: Interrupted) -> Path:
    return interrupted.directory


def test_every_scenario_leaves_its_numbers(report: Path, pico_llama: Path, pico_llama_untied: Path) -> None:
    results = read(report / "results.json")
    assert results.complete
    assert [model.name for model in results.models] == [pico_llama.name, pico_llama_untied.name]
    counts = {kind: 0 for kind in ("memory", "latency", "throughput")}
    for each in results.measurements:
        assert each.status == "ok", each.error
        counts[each.scenario] += 1
        assert each.peak_memory_bytes is not None
        assert each.peak_memory_bytes > 50e6  # a process with torch
    assert counts == {"memory": 2, "latency": 2 * 2 * 2, "throughput": 2 * 2}
    metrics = {(each.scenario, each.load, each.metric) for each in results.comparisons}
    latency = {("latency", load, f"{name}_seconds") for load in (1, 2) for name in ("ttft", "tpot", "e2e")}
    assert metrics == latency | {("throughput", 4, "output_tokens_per_second")}
    assert all(len(each.pairs) == 2 for each in results.comparisons)
    assert results.quality is not None
    assert results.quality.models[1].kl_nats_per_token is not None
    assert len(results.memory) == 2
    assert results.machine_rates is not None
    assert results.summary


def test_times_add_up(report: Path) -> None:
    for each in read(report / "results.json").measurements:
        if each.scenario == "latency":
            for ttft, tpot, e2e in zip(
                *(each.samples[f"{name}_seconds"] for name in ("ttft", "tpot", "e2e")), strict=True
            ):
                assert e2e == pytest.approx(ttft + 3 * tpot)


def test_kv_cache_bytes_are_as_predicted(report: Path) -> None:
    results = read(report / "results.json")
    for record in results.memory:
        assert record.kv_bytes_per_token_measured == record.kv_bytes_per_token_predicted == 2 * 3 * 2 * 32 * 4
    for each in results.measurements:
        model = next(model for model in results.models if model.name == each.model)
        if each.scenario == "memory":
            assert each.weight_bytes_loaded == 4 * model.parameters


def test_the_report_is_written(report: Path) -> None:
    page = (report / "report.html").read_text()
    assert "dotresize bench ..." in page
    assert (report / "report.md").read_text().startswith("#")


def test_an_interrupted_run_goes_on_without_measuring_again(
    interrupted: Interrupted, sources: list[str], tmp_path: Path
) -> None:
    assert not interrupted.half.complete
    assert len(interrupted.half.measurements) == 3
    assert "holds a benchmark already; go on with it by --resume" in str(interrupted.refused)
    whole = read(interrupted.directory / "results.json")
    assert whole.complete
    assert whole.measurements[:3] == interrupted.half.measurements  # the very same samples and times
    copy = shutil.copytree(interrupted.directory, tmp_path / "r")
    again = run_bench(sources, SETTINGS, copy, command="", resume=True)
    assert again.measurements == whole.measurements


def test_a_crash_in_one_round_is_recorded_and_the_rest_goes_on(
    pico_llama: Path, pico_llama_untied: Path, tmp_path: Path
) -> None:
    fragile = shutil.copytree(pico_llama_untied, tmp_path / "fragile")
    weights = fragile / "model.safetensors"
    whole = weights.read_bytes()
    sources = [str(pico_llama), str(fragile)]
    settings = replace(LATENCY, rounds=3)

    class Breaks(Silent):
        jobs = 0

        def advance(self, units: int = 1) -> None:
            self.jobs += 1
            # after the models are prepared (2), rounds 1 and 3 run with the file whole, round 2 without
            weights.write_bytes(b"damaged" if self.jobs in (4, 5) else whole)

    results = run_bench(sources, settings, tmp_path / "r", command="", progress=Breaks())
    failed = [each for each in results.measurements if each.status == "failed"]
    assert [(each.model, each.round) for each in failed] == [("fragile", 1)]
    assert "fragile cannot be read by transformers: Error while deserializing header" in failed[0].error
    assert {len(each.pairs) for each in results.comparisons} == {2}
    assert any("failed: fragile, latency at load 1, round 2" in warning for warning in results.warnings)
    mended = run_bench(sources, settings, tmp_path / "r", command="", resume=True)
    assert {each.status for each in mended.measurements} == {"ok"}
    assert {len(each.pairs) for each in mended.comparisons} == {3}


def test_models_with_different_vocabularies_are_refused(
    pico_llama: Path, pico_llama_untied: Path, tmp_path: Path
) -> None:
    other = shutil.copytree(pico_llama_untied, tmp_path / "other")
    tokenizer = json.loads((other / "tokenizer.json").read_text())
    vocabulary = tokenizer["model"]["vocab"]
    first, second = sorted(vocabulary, key=vocabulary.__getitem__)[-2:]
    vocabulary[first], vocabulary[second] = vocabulary[second], vocabulary[first]
    (other / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(InputError, match="other has another vocabulary than"):
        run_bench([str(pico_llama), str(other)], LATENCY, tmp_path / "r", command="")


def test_other_settings_do_not_mix_with_finished_ones(
    report: Path, sources: list[str], tmp_path: Path
) -> None:
    copy = shutil.copytree(report, tmp_path / "r")
    with pytest.raises(OptionError, match=r"measured with other settings \(seed\)"):
        run_bench(sources, replace(SETTINGS, seed=1), copy, command="", resume=True)
    with pytest.raises(InputError, match="measured with other models"):
        run_bench(sources[::-1], SETTINGS, copy, command="", resume=True)


def test_results_of_another_machine_are_not_continued(
    report: Path, sources: list[str], tmp_path: Path
) -> None:
    copy = shutil.copytree(report, tmp_path / "r")
    data = json.loads((copy / "results.json").read_text())
    data["environment"]["processor"] = "Another 9000"
    (copy / "results.json").write_text(json.dumps(data))
    with pytest.raises(InputError, match=r"measured on another machine \(Another 9000\)"):
        run_bench(sources, SETTINGS, copy, command="", resume=True)


def test_files_of_others_are_left_alone(pico_llama: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("do not delete")
    with pytest.raises(OutputError, match="holds files that are no benchmark of ours"):
        run_bench([str(pico_llama)] * 2, LATENCY, tmp_path, command="", force=True)
    assert (tmp_path / "thesis.txt").read_text() == "do not delete"
    (tmp_path / "results.json").write_text('{"mine": 1}')
    with pytest.raises(
        OutputError, match="results.json is no benchmark of ours; --force does not replace it"
    ):
        run_bench([str(pico_llama)] * 2, LATENCY, tmp_path, command="", force=True)
    assert (tmp_path / "results.json").read_text() == '{"mine": 1}'


def test_a_second_run_in_the_same_directory_harms_nothing(
    report: Path, sources: list[str], tmp_path: Path
) -> None:
    copy = shutil.copytree(report, tmp_path / "r")
    before = (copy / "results.json").read_bytes()
    with (copy / ".lock").open("r+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(OutputError, match="another run is writing to"):
            run_bench(sources, SETTINGS, copy, command="", force=True)
    assert (copy / "results.json").read_bytes() == before
    assert (copy / "work").is_dir()


def test_force_starts_from_nothing(pico_llama: Path, tmp_path: Path) -> None:
    """Copies of models that an earlier run made could be of older weights."""
    made = tmp_path / "r" / "work" / "old-onnx-fp32"
    made.mkdir(parents=True)
    earlier = {"schema_version": 1, "settings": {}, "measurements": []}  # what tells a report of ours
    (tmp_path / "r" / "results.json").write_text(json.dumps(earlier))
    seen: list[bool] = []

    class Look(Silent):
        def begin(self, step: str, units: int) -> None:
            seen.append(made.exists())

    settings = replace(LATENCY, input_tokens=300)
    with pytest.raises(ModelError, match="do not fit"):
        run_bench([str(pico_llama)] * 2, settings, tmp_path / "r", command="", force=True, progress=Look())
    assert seen == [False]  # while the models were prepared
    assert made.exists()  # put back, because the new run could not begin


def test_one_model_is_no_comparison(pico_llama: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one model is no comparison"):
        run_bench([str(pico_llama)], LATENCY, tmp_path / "r", command="")
    assert not (tmp_path / "r").exists()


def test_too_long_a_context_is_refused_before_anything_runs(pico_llama: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has 256 positions; 300 input and 4 output tokens do not fit"):
        run_bench([str(pico_llama)] * 2, replace(LATENCY, input_tokens=300), tmp_path / "r", command="")


def test_a_missing_engine_says_how_to_install_it(pico_llama: Path, tmp_path: Path) -> None:
    without_vllm = (
        "import sys; sys.modules['vllm'] = None; from dotresize.cli import main; "
        f"sys.argv = ['dotresize', 'bench', {str(pico_llama)!r}, {str(pico_llama)!r}, '-o', 'r']; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", without_vllm], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 2
    assert "error: the vllm engine is not installed: `pip install vllm`" in done.stderr


def test_force_keeps_the_old_report_until_the_new_one_can_begin(pico_llama: Path, tmp_path: Path) -> None:
    (tmp_path / "report" / "work").mkdir(parents=True)
    (tmp_path / "report" / "work" / "kept.log").write_text("an engine's log")
    write(example_results(), tmp_path / "report" / "results.json")
    (tmp_path / "report" / "report.html").write_text("the old page")

    def content() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    before = content()
    for models in ([str(pico_llama), "no/such"], [str(pico_llama)]):
        with pytest.raises(InputError, match="neither a local path nor a hub id|one model is no comparison"):
            run_bench(models, LATENCY, tmp_path / "report", command="dotresize bench ...", force=True)
        assert {name: data for name, data in content().items() if name != ".lock"} == before


def test_a_report_is_not_written_into_a_model(pico_llama: Path) -> None:
    with pytest.raises(OutputError, match="lies inside"):
        run_bench([str(pico_llama), "other"], LATENCY, pico_llama / "report", command="dotresize bench ...")
    assert not (pico_llama / "report").exists()
