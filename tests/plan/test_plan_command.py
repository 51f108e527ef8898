"""From a budget to a checkpoint, on a pico model and real texts."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dotresize.cli import app
from dotresize.compress.record.config import CompressConfig
from dotresize.compress.record.progress import Silent
from dotresize.compress.text.mixture import mixture_of
from dotresize.errors import DotresizeError, InputError, OptionError, OutputError
from dotresize.export.contract import manifest
from dotresize.plan.budget import Budget
from dotresize.plan.measure import (
    Fidelity,
    Measurer,
    Recipe,
    few_windows,
    lowest_fidelity,
    ready_texts,
)
from dotresize.plan.planner import plan_widths
from dotresize.plan.record import read_plan
from dotresize.plan.search_state import Measured, SearchState
from dotresize.plan.settings import PlanSettings
from dotresize.plan.workers import Workers, open_workers

from ..text import TEXT

FEW = ["--calibration", TEXT, "--calibration-windows", "8", "--window-tokens", "64"]


def run(*words: str | Path) -> dict[str, Any]:
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    last: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return last


def plan(model: Path, output: Path, *words: str) -> dict[str, Any]:
    found: dict[str, Any] = run("plan", model, "-o", output, *FEW, *words, "--json")["plan"]
    return found


def test_the_plan_is_what_compress_then_gives(pico_llama_untied: Path, tmp_path: Path) -> None:
    found = plan(pico_llama_untied, tmp_path / "plan.json", "--params", "0.7", "--effort", "quick")
    chosen = found["chosen"]["predicted"]
    assert chosen["layer_parameters"] <= 0.7 * found["original"]["layer_parameters"]
    assert found["evaluations"] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]
    out = tmp_path / "out"
    run("compress", pico_llama_untied, "-o", out, "--plan", tmp_path / "plan.json", *FEW,
        "--evaluation", "none", "--json")  # fmt: skip
    report = manifest.read(out).report
    assert report is not None
    assert report.narrow_counts.layer_parameters == chosen["layer_parameters"]
    assert report.narrow_counts.total_parameters == chosen["parameters"]
    assert report.narrow_counts.weight_bytes == chosen["weight_bytes"]
    assert report.narrow_counts.kv_cache_bytes_per_token == chosen["cache_bytes_per_token"]


def test_the_search_measures_resumes_and_leaves_nothing(pico_llama_untied: Path, tmp_path: Path) -> None:
    """An interrupted search is one whose state is there and whose plan is not."""
    settings = PlanSettings(
        budget=Budget(params=0.7),
        base=CompressConfig(mlp_width=0.5, calibration=TEXT, calibration_windows=8, window_tokens=64),
        evaluation=("builtin:chat",),
    )
    output = tmp_path / "plan.json"
    first, state = plan_widths(str(pico_llama_untied), settings, output=output)
    assert state is not None
    assert state.path is not None
    assert first.evaluations == len(state.results) > 10
    kept = state.path.read_bytes()
    again, state = plan_widths(str(pico_llama_untied), settings, output=output)
    assert state is not None
    assert state.path is not None
    assert state.path.read_bytes() == kept  # their seconds too: nothing was measured again
    assert again.chosen == first.chosen
    assert again.front == first.front
    alone = [point.quality.kl_nats_per_token for point in first.single_axes]
    measured = [loss for loss in alone if loss is not None]
    assert measured
    assert first.chosen.quality.kl_nats_per_token is not None
    state.discard()
    assert list(tmp_path.iterdir()) == []


def test_more_windows_are_seen_on_higher_rungs(pico_llama: Path) -> None:
    recipe = Recipe(
        model=str(pico_llama),
        own=(64, 96, 2, 3, 0),
        base=CompressConfig(mlp_width=0.5, calibration=TEXT, window_tokens=64),
        evaluation=("builtin:chat",),
        fidelity=Fidelity(window_tokens=64, windows=1, most_windows=2, evaluation_windows=1),
    )
    state = SearchState(None, "")
    with open_workers(Workers(), recipe, lambda _: None) as score:
        measure = Measurer(score, state, Silent())
        losses = [measure([(64, 48, 2, 3, 0)], rung)[0].kl_nats_per_token for rung in (0, 1)]
    assert [kept.windows for kept in state.results.values()] == [1, 2]
    assert all(loss > 0 for loss in losses)
    kept = Measured(kl_nats_per_token=9.0, perplexity_ratio=2.0, windows=1, seconds=0.0)
    state.put((64, 48, 2, 3, 0), 0, kept)
    assert measure([(64, 48, 2, 3, 0)], 0) == [kept]


def test_a_search_waits_for_no_text_that_the_model_writes() -> None:
    ready = ready_texts("builtin")
    assert [text.split("=")[0] for text in ready] == [
        "builtin:documentation",
        "builtin:code",
        "builtin:chat",
    ]
    assert ready_texts("self") == ("builtin:documentation", "builtin:code", "builtin:chat")
    assert [part.share for part in mixture_of(ready_texts([f"{TEXT}=0.6", "self=0.4"]))] == [1.0]


def test_a_search_sees_a_part_of_the_run() -> None:
    def few(tokens: int, length: int, *texts: str) -> Fidelity:
        base = CompressConfig(mlp_width=0.5, window_tokens=length, calibration=texts or ("builtin:code",))
        return lowest_fidelity(tokens, base)

    assert few(131072, 1024) == Fidelity(window_tokens=512, windows=8, most_windows=256, evaluation_windows=1)
    assert few(524288, 1024).windows == 32
    assert few(16384, 512).windows == 8  # a part of 32 would be 512 tokens
    assert few(512, 64).windows == 8  # the whole run
    scarce = few(16384, 512, f"{TEXT}=0.02", "builtin:code=0.98")
    assert scarce.windows == 50  # one of them of the scarce text


def test_no_rung_sees_more_than_the_run() -> None:
    base = CompressConfig(mlp_width=0.5, window_tokens=512, calibration=("builtin:code",))
    fidelity = lowest_fidelity(8192, base)
    assert [few_windows(base, fidelity, rung).calibration_windows for rung in (0, 1, 2)] == [8, 16, 16]


@pytest.mark.parametrize(
    ("words", "kind", "message"),
    [
        ([], OptionError, "no budget was given"),
        (["--params", "2"], DotresizeError, "--params 2 cannot be reached"),
        (
            ["--params", "0.7", "--effort", "quick", "--jobs", "2"],
            OptionError,
            "--jobs and --executor have no",
        ),
        (["--params", "0.7", "--context", "9"], OptionError, "--context has no effect without --memory"),
        (["--params", "0.7", "--target", "l4"], OptionError, "--target has no effect without"),
        (["--params", "0.7", "--evaluation", TEXT], OptionError, "calibration and for evaluation"),
        (
            ["--params", "0.7", "--effort", "quick", "--evaluation", "builtin:chat"],
            OptionError,
            "--evaluation has no effect with --effort quick",
        ),
    ],
)
def test_what_is_refused(
    pico_llama: Path, tmp_path: Path, words: list[str], kind: type[DotresizeError], message: str
) -> None:
    with pytest.raises(kind, match=message):
        plan(pico_llama, tmp_path / "plan.json", *words)
    assert list(tmp_path.iterdir()) == []


def test_a_plan_beside_widths_of_another_model_or_in_the_way(
    pico_llama: Path, pico_llama_untied: Path, tmp_path: Path
) -> None:
    file = tmp_path / "plan.json"
    plan(pico_llama, file, "--params", "0.7", "--effort", "quick")
    compress: tuple[str | Path, ...] = (
        "compress",
        pico_llama,
        "-o",
        tmp_path / "out",
        "--plan",
        file,
        *FEW,
        "--dry-run",
        "--json",
    )
    assert run(*compress)["forecast"]["sizes"]["narrow"]
    with pytest.raises(OptionError, match="--plan was given beside --layers"):
        run(*compress, "--layers", "2")
    with pytest.raises(OutputError, match="already exists"):
        plan(pico_llama, file, "--params", "0.7", "--effort", "quick")
    content = json.loads(file.read_text())
    content["dense"]["vocab_size"] = 500
    file.write_text(json.dumps(content))
    with pytest.raises(InputError, match="whose vocab_size is 500; this model's is 384"):
        run(*compress)
    file.write_text("{}")
    with pytest.raises(InputError, match="is no plan"):
        run(*compress)
    with pytest.raises(OutputError, match="--force replaces only plans"):
        plan(pico_llama, file, "--params", "0.7", "--effort", "quick", "--force")
    content["chosen"]["widths"] = content["chosen"]["widths"] | {"mlp": "many"}
    file.write_text(json.dumps(content))
    with pytest.raises(InputError, match="is damaged at chosen.widths.mlp"):
        read_plan(file)
