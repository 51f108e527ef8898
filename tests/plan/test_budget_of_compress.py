"""`dotresize compress` within a budget: planned first, written beside, and not planned twice."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dotresize.cli import app
from dotresize.compress.families.shape import widths_of
from dotresize.compress.record.config import CompressConfig
from dotresize.compress.weights.source import open_model
from dotresize.errors import DotresizeError, OptionError, OutputError, WidthError
from dotresize.export.contract import manifest
from dotresize.plan.axes import Candidate, axes_of
from dotresize.plan.budget import Budget
from dotresize.plan.planner import plan_widths
from dotresize.plan.prediction import Predictor
from dotresize.plan.quality_floor import out_of_reach, parse_floor
from dotresize.plan.record import read_plan
from dotresize.plan.settings import PlanSettings
from dotresize.plan.size_model import SizeModel

from ..text import TEXT

FEW = ["--calibration", TEXT, "--calibration-windows", "8", "--window-tokens", "64"]


def compress(model: Path, output: Path, *words: str) -> Any:
    given = ["compress", str(model), "-o", str(output), *FEW, *words, "--json"]
    result = CliRunner().invoke(app, given)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_a_budget_is_planned_once_and_spent(pico_llama_untied: Path, tmp_path: Path) -> None:
    out, file = tmp_path / "out", tmp_path / "out.plan.json"
    within = ["--params", "0.7", "--quality-floor", "ppl<=1000", "--evaluation", "builtin:chat"]
    within += ["--evaluation-windows", "1"]
    first = compress(pico_llama_untied, out, *within)
    record = read_plan(file)
    assert "planned: " in first.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "out.plan.json"]
    report = manifest.read(out).report
    assert report is not None
    assert report.narrow_counts.layer_parameters == record.chosen.predicted.layer_parameters
    assert report.narrow_counts.layer_parameters <= 0.7 * report.dense_counts.layer_parameters
    assert record.quality_floor == 1000.0
    assert record.chosen.quality.perplexity_ratio is not None
    assert record.evaluations > 10

    written = file.stat().st_mtime_ns
    compress(pico_llama_untied, out, *within, "--force")
    assert file.stat().st_mtime_ns == written
    with pytest.raises(OutputError, match=r"out.plan.json already exists"):
        compress(pico_llama_untied, tmp_path / "out", "--params", "0.6")  # another budget


@pytest.mark.parametrize(
    ("words", "kind", "message"),
    [
        (["--params", "0.7", "--layers", "2"], OptionError, "a budget was given beside --layers"),
        (["--params", "0.7", "--plan", "p.json"], OptionError, "--plan was given beside a budget"),
        (["--params", "0.7", "--dry-run"], OptionError, "--dry-run reads no weight"),
        (["--target", "l4", "--layers", "2"], OptionError, "--target has no effect without a budget"),
        (["--jobs", "2", "--layers", "2"], OptionError, "--jobs has no effect without a budget"),
        (["--quality-floor", "ppl<=2"], OptionError, "--quality-floor has no effect without a budget"),
        (["--params", "0.7", "--quality-floor", "good"], OptionError, "give the ratio of perplexities"),
        (["--params", "0.7", "--quality-floor", "ppl<=1"], OptionError, "asks for no loss at all"),
        (["--params", "0.7", "--evaluation", TEXT], OptionError, "calibration and for evaluation"),
        ([], OptionError, "or a budget"),
    ],
)
def test_what_is_refused_before_anything_is_planned(
    pico_llama: Path, tmp_path: Path, words: list[str], kind: type[DotresizeError], message: str
) -> None:
    with pytest.raises(kind, match=message):
        compress(pico_llama, tmp_path / "out", *words)
    assert list(tmp_path.iterdir()) == []


def test_a_floor_out_of_reach_says_so_and_keeps_what_was_measured(
    pico_llama_untied: Path, tmp_path: Path
) -> None:
    """Half the original's perplexity: what no narrowing of random weights reaches."""
    settings = PlanSettings(
        budget=Budget(params=0.6),
        base=CompressConfig(mlp_width=0.5, calibration=TEXT, calibration_windows=8, window_tokens=64),
        evaluation=("builtin:chat",),
        quality_floor=0.5,
    )
    with pytest.raises(WidthError, match=r"ppl<=0.5 is not reached within the budget: the best.* nor by any"):
        plan_widths(str(pico_llama_untied), settings, output=tmp_path / "plan.json")
    assert [path.name for path in tmp_path.iterdir()] == [".plan.json.dotresize-search"]


def test_the_nearest_budget_that_reaches_a_floor_is_found(pico_llama_untied: Path) -> None:
    """The loss is what goes of the parameters: a floor of 1.25 wants three quarters of them."""
    opened = open_model(str(pico_llama_untied))
    axes = axes_of(opened.config, opened.family)
    base = CompressConfig(mlp_width=0.5)
    sizes = SizeModel(opened.config, opened.family, axes, base)
    widths = widths_of(opened.config, opened.family)
    predictor = Predictor(sizes, widths, Budget(params=0.5), dtype="float32", serving=None)
    whole = predictor.predict(axes.dense).layer_parameters
    asked: list[float] = []

    def measure(pool: Sequence[Candidate]) -> tuple[Candidate, float]:
        largest = max(pool, key=lambda one: predictor.predict(one).layer_parameters)
        asked.append(predictor.predict(largest).layer_parameters / whole)
        return largest, 2.0 - asked[-1]

    error = out_of_reach(1.25, 1.5, axes, predictor.predict, predictor.needs(), measure)
    assert len(asked) == 4
    reached = min(share for share in asked if share >= 0.75)
    assert f"--params {reached * whole:,.0f} ({reached:.3f} of the original)" in str(error)
    assert f"with ppl {2.0 - reached:.3f}" in str(error)
    assert reached < 0.75 + 0.5 / 8  # four halvings of the way, and a step of the grid


def test_a_floor_is_a_ratio() -> None:
    assert parse_floor("ppl<=1.15") == parse_floor(" ppl <= 1.15 ") == 1.15
    for odd in ("ppl<1.15", "1.15", "ppl<=", "ppl<=-2", "ppl<=nan"):
        with pytest.raises(OptionError, match="--quality-floor is"):
            parse_floor(odd)
