from dataclasses import replace

import pytest

from dotresize.bench.judge.decision import decision_rows, recommendation
from dotresize.bench.record.results import Comparison, Estimate, Results

from ..example_models import ORIGINAL
from ..example_results import example_results


def decided(results: Results) -> tuple[dict[str, str], str]:
    rows = decision_rows(results)
    return {row.model: row.standing for row in rows}, " ".join(recommendation(rows, ORIGINAL))


def with_ratios(results: Results, **ratios: float) -> Results:
    """Other ratios of perplexities; names with _ for - and . as in mlp_0_75."""
    assert results.quality is not None
    known = {name.replace("-", "_").replace(".", "_"): name for name in ("mlp-0.75", "hidden-0.8", "both")}
    new = {known[key]: Estimate(value=value, standard_error=0.01) for key, value in ratios.items()}
    models = [
        replace(record, perplexity_ratio=new.get(record.model, record.perplexity_ratio))
        for record in results.quality.models
    ]
    results.quality = replace(results.quality, models=models)
    return results


def test_the_least_loss_for_its_gain_is_recommended():
    standings, text = decided(example_results())
    assert standings == {"mlp-0.75": "recommended", "hidden-0.8": "not faster", "both": "alternative"}
    assert text.startswith(
        "Ship mlp-0.75: 1.21x decode throughput at batch size 1, 15 % less weight memory, a perplexity of "
        "1.26 times the original's, −7.1 points in tasks. both is faster still (1.23x) and "
        "loses more (1.35 times)."
    )
    assert "perplexity of mlp-0.75 is 26 % higher" in text


def test_a_beaten_model_is_no_alternative_and_what_is_unverified_is_said():
    standings, text = decided(with_ratios(example_results(), both=1.01))
    assert standings == {"mlp-0.75": "beaten", "hidden-0.8": "not faster", "both": "recommended"}
    assert text.startswith("Ship both: ")
    assert "mlp-0.75" not in text
    assert "No verification of both is recorded" in text
    assert "% higher" not in text


def test_tasks_are_the_mean_difference_with_its_error():
    row = decision_rows(example_results())[0]
    assert row.task_change is not None
    assert row.task_change.value == pytest.approx((21.43 - 27.08) / 80)  # as the example makes them
    assert row.task_change.standard_error == pytest.approx(0.011 * 2**0.5)


def slowed(comparison: Comparison) -> Comparison:
    return replace(comparison, verdict="no difference", speedup=1.0)


def test_without_a_faster_model_the_original_stays():
    results = example_results()
    results.comparisons = [slowed(each) for each in results.comparisons]
    _, text = decided(results)
    assert text.startswith(
        f"Keep {ORIGINAL}: no narrow model was shown to be faster. Where memory decides, mlp-0.75"
    )


def test_what_was_not_measured_is_not_judged():
    results = example_results()
    results.quality = None
    standings, text = decided(results)
    assert set(standings.values()) == {"not judged"}
    assert text == "No recommendation: quality was not measured."
    results.comparisons = []
    assert decided(results)[1] == "No recommendation: speed was not measured."
