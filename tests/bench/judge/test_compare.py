import math
from dataclasses import replace
from io import StringIO
from typing import Any

import pytest
from rich.console import Console
from scipy.stats import ttest_ind

from dotresize.bench.judge.compare import Change, compare, differences, exceeds, parse_fail_above
from dotresize.bench.record.results import Estimate, ModelQuality, Results
from dotresize.cli.printed.tables_bench import changes_table
from dotresize.errors import InputError, OptionError

from ..example_models import ORIGINAL
from ..example_results import example_results


def find(changes: list[Change], model: str, scenario: str, load: int | None, metric: str) -> Change:
    wanted = (model, scenario, load, metric)
    return next(c for c in changes if (c.model, c.scenario, c.load, c.metric) == wanted)


def with_quality(results: Results, model: str, factor: float) -> Results:
    """The perplexity of one model multiplied, its ratio to the original too."""
    assert results.quality is not None

    def scale(estimate: Estimate) -> Estimate:
        return replace(estimate, value=estimate.value * factor)

    def change(record: ModelQuality) -> ModelQuality:
        if record.model != model or record.perplexity_ratio is None:
            return record
        return replace(
            record, perplexity=scale(record.perplexity), perplexity_ratio=scale(record.perplexity_ratio)
        )

    results.quality = replace(results.quality, models=[change(record) for record in results.quality.models])
    return results


def test_a_run_against_itself_changes_nothing():
    changes = compare(example_results(), example_results())
    assert changes
    assert all(change.worsening == 0 for change in changes)
    assert exceeds(changes, 0.0) == []
    assert differences(example_results(), example_results()) == []


@pytest.mark.parametrize("seed", range(2, 8))
def test_another_run_of_the_same_thing_does_not_fail(seed: int):
    """1.5 % of drift from round to round: a median of five then moves by 1 %, far from the limit of 5 %."""
    old, new = example_results(noise=0.005), example_results(noise=0.005, seed=seed)
    assert exceeds(compare(old, new), 0.05) == []


def test_a_known_slowdown_is_recovered_within_its_interval():
    changes = compare(
        example_results(rounds=30, noise=0.004),
        example_results(rounds=30, noise=0.004, slowdown=1.10, seed=5),
    )
    for metric, truth in (("tpot_seconds", 0.10), ("e2e_seconds", 0.10)):
        change = find(changes, "mlp-0.75", "latency", 8, metric)
        assert change.low is not None
        assert change.high is not None
        assert change.low < truth < change.high
        assert change.high - change.low < 0.03
    rate = find(changes, "mlp-0.75", "throughput", 64, "output_tokens_per_second")
    assert rate.low is not None
    assert rate.high is not None
    assert rate.low < 1 - 1 / 1.10 < rate.high  # 10 % more time is 9.1 % less throughput
    failing = exceeds(changes, 0.05)
    assert {change.model for change in failing} == {"mlp-0.75"}
    assert exceeds(changes, 0.15) == []


def test_the_interval_is_welchs():
    """Oracle: scipy's Welch interval of the difference of means, on logarithms."""
    old, new = example_results(), example_results(slowdown=1.1, seed=4)
    change = find(compare(old, new), "mlp-0.75", "throughput", 64, "output_tokens_per_second")

    def logs(results: Results) -> list[float]:
        found = [m for m in results.measurements if (m.model, m.scenario) == ("mlp-0.75", "throughput")]
        return [-math.log(m.samples["output_tokens_per_second"][0]) for m in found]

    interval = ttest_ind(logs(new), logs(old), equal_var=False).confidence_interval(0.95)
    expected = (-math.expm1(-interval.low), -math.expm1(-interval.high))
    assert (change.low, change.high) == pytest.approx(expected, rel=1e-9)  # the same formula, rounding only


def test_worse_beyond_the_limit_but_within_the_spread_passes():
    noisy = example_results(slowdown=1.10, noise=0.08, seed=3)
    changes = compare(example_results(noise=0.08), noisy)
    worse = [c for c in changes if c.worsening > 0.05]
    assert worse
    assert len(exceeds(changes, 0.05)) < len(worse)


def test_a_faster_run_never_fails():
    assert exceeds(compare(example_results(slowdown=1.5), example_results()), 0.0) == []


def test_a_single_round_has_no_spread_and_that_is_said():
    old, new = example_results(rounds=1), example_results(rounds=1, slowdown=2)
    changes = [c for c in compare(old, new) if c.scenario != "quality"]
    assert all(change.beyond_spread is None for change in changes)
    assert exceeds(changes, 0.05) == []
    assert any("single round has no spread" in warning for warning in differences(old, new))


def test_worse_perplexity_fails_by_its_paired_error():
    """8 % more perplexity: less than the error over texts (4 % each), far more than the paired one (1 %)."""
    changes = compare(example_results(), with_quality(example_results(), "mlp-0.75", 1.08))
    change = find(changes, "mlp-0.75", "quality", None, "perplexity")
    assert change.worsening == pytest.approx(0.08)
    assert exceeds(changes, 0.05) == [change]
    assert exceeds(changes, 0.09) == []


def test_on_another_text_perplexities_are_compared_with_their_own_error():
    new = with_quality(example_results(), "mlp-0.75", 1.08)
    assert new.quality is not None
    new.quality = replace(new.quality, text_sha256="ef" * 32)
    old = example_results()
    assert exceeds(compare(old, new), 0.05) == []
    assert any(warning.startswith("evaluation text differs") for warning in differences(old, new))


@pytest.mark.parametrize(
    ("part", "changes", "words"),
    [
        ("environment", {"processor": "Other CPU"}, "machine: processor differs: 'Example CPU 9000"),
        ("environment", {"versions": {"torch": "2.8.0"}}, "version of torch differs: '2.13.0'"),
        ("settings", {"dtype": "float32"}, "setting dtype differs: 'auto' in the old run, 'float32'"),
        ("settings", {"engine": "onnx"}, "setting engine differs: 'vllm' in the old run, 'onnx'"),
        ("settings", {"output_tokens": 64}, "setting output_tokens differs: 128"),
    ],
)
def test_what_makes_runs_incomparable_is_named(part: str, changes: dict[str, Any], words: str):
    old, new = example_results(), example_results()
    setattr(new, part, replace(getattr(new, part), **changes))
    assert any(words in warning for warning in differences(old, new))


def test_models_are_matched_by_name_and_missing_ones_are_named():
    old, new = example_results(), example_results()
    new.models = [model for model in new.models if model.name != "both"]
    new.measurements = [m for m in new.measurements if m.model != "both"]
    new.measurements = [
        replace(m, status="failed", samples={}) if (m.model, m.scenario) == (ORIGINAL, "throughput") else m
        for m in new.measurements
    ]
    new.complete = False
    assert {change.model for change in compare(old, new) if change.scenario != "quality"} == {
        ORIGINAL,
        "mlp-0.75",
        "hidden-0.8",
    }
    warnings = differences(old, new)
    assert "not in the new run and so not compared: both" in warnings
    assert f"{ORIGINAL} has throughput 64 in the old run only" in warnings
    assert "the new run is not complete" in warnings


@pytest.mark.parametrize(
    ("text", "value"), [("5%", 0.05), ("5 %", 0.05), ("0.05", 0.05), ("0", 0.0), ("12.5%", 0.125)]
)
def test_fail_above_is_read(text: str, value: float):
    assert parse_fail_above(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "five", "-1%", "100%", "5", "nan", "%", "inf%"])
def test_a_useless_fail_above_is_refused(text: str):
    with pytest.raises(OptionError, match="expected a share below 100 % such as 5% or 0.05"):
        parse_fail_above(text)


def test_the_table_shows_every_change_and_marks_the_failing_ones():
    changes = compare(example_results(), example_results(slowdown=1.3, seed=2))
    stream = StringIO()
    Console(file=stream, width=200).print(changes_table(changes, 0.05))
    text = stream.getvalue()
    assert text.count("worse: past the limit") == len(exceeds(changes, 0.05))
    assert text.count("mlp-0.75") == sum(change.model == "mlp-0.75" for change in changes)
    assert "no difference" in text


def test_a_perplexity_that_cannot_be_is_refused():
    results = with_quality(example_results(), "mlp-0.75", 0.0)
    with pytest.raises(InputError, match="perplexity of 0; it must be above 0"):
        compare(results, results)
