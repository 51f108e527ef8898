"""`dotresize compress` within a budget: planned first, written beside, and not planned twice."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from dotresize.cli import app
from dotresize.errors import DotresizeError, OptionError, OutputError, WidthError
from dotresize.export import manifest
from dotresize.plan.quality_floor import parse_floor
from dotresize.plan.record import read_plan

TEXT = str(Path(__file__).parents[1] / "compress" / "text.txt")
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


def test_a_floor_out_of_reach_says_what_is_within(pico_llama_untied: Path, tmp_path: Path) -> None:
    floor = ["--params", "0.5", "--quality-floor", "ppl<=1.0001", "--evaluation", "builtin:chat"]
    with pytest.raises(WidthError, match=r"ppl<=1.0001 is not reached within the budget: the best.* is ppl"):
        compress(pico_llama_untied, tmp_path / "out", *floor)
    kept = [json.loads(path.read_text()) for path in tmp_path.iterdir()]
    assert len(kept) == 1  # what was measured waits for a milder floor


def test_a_floor_is_a_ratio() -> None:
    assert parse_floor("ppl<=1.15") == parse_floor(" ppl <= 1.15 ") == 1.15
    for odd in ("ppl<1.15", "1.15", "ppl<=", "ppl<=-2", "ppl<=nan"):
        with pytest.raises(OptionError, match="--quality-floor is"):
            parse_floor(odd)
