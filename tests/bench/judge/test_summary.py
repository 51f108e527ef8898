from dataclasses import replace

import pytest

from dotresize.bench.judge.summary import headline_comparison, summarise
from dotresize.bench.record.results import Comparison, Results

from ..example_models import ORIGINAL
from ..example_results import example_results


def with_headline(results: Results, **changes) -> str:
    """The sentence of mlp-0.75 after changing the comparison that it is made from."""
    chosen = headline_comparison(results, "mlp-0.75")
    assert chosen is not None
    results.comparisons = [replace(c, **changes) if c is chosen else c for c in results.comparisons]
    return summarise(results)[0]


def test_one_sentence_per_narrow_model_says_gain_and_loss():
    sentences = summarise(example_results())
    assert [sentence.split(",")[0] for sentence in sentences] == ["mlp-0.75", "hidden-0.8", "both"]
    assert sentences[0].startswith(
        "mlp-0.75, intermediate_size 1536 -> 1152: 1.21x decode throughput at batch size 1 (95 % interval"
    )
    assert sentences[0].endswith("15 % less weight memory, perplexity 27.1 against 21.4.")
    assert "hidden_size 576 -> 513, intermediate_size 1536 -> 1184" in sentences[2]


def test_no_difference_is_said_and_shows_no_factor():
    sentence = summarise(example_results())[1]
    assert "no difference in decode throughput at batch size 1 (95 % interval 0." in sentence
    assert "x decode" not in sentence


def test_noise_is_not_sold_as_equality():
    sentence = with_headline(example_results(), speedup=1.1, low=0.43, high=4.08, verdict="no difference")
    assert (
        "no difference could be shown in decode throughput at batch size 1 (95 % interval 0.43 to" in sentence
    )


def test_a_slowdown_is_called_slower():
    sentence = with_headline(example_results(), speedup=0.9, low=0.88, high=0.92, verdict="slower")
    assert "0.90x decode throughput at batch size 1, which is slower (95 % interval 0.88 to 0.92)" in sentence


@pytest.mark.parametrize(
    ("rounds", "words"),
    [(1, "from a single round, so not certain"), (2, "from only 2 rounds, so not certain (95 % interval")],
)
def test_too_few_rounds_are_never_sold_as_a_result(rounds: int, words: str):
    assert words in summarise(example_results(rounds=rounds))[0]


def test_left_out_scenarios_are_named_and_others_stand_in():
    results = example_results()
    results.quality, results.memory = None, []
    results.comparisons = [c for c in results.comparisons if c.scenario == "throughput"]
    sentence = summarise(results)[0]
    assert "x offline throughput (95 %" in sentence
    assert "15 % less on disk" in sentence
    assert sentence.endswith("quality was not measured.")
    results.comparisons, results.measurements = [], []
    assert ": speed was not measured, 15 % less on disk," in summarise(results)[0]


def test_failures_are_not_called_unmeasured():
    results = example_results()
    results.comparisons = []
    results.measurements = [
        replace(m, status="failed", error="boom", samples={}) for m in results.measurements
    ]
    assert "no speed-up could be computed (35 of 35 points failed" in summarise(results)[0]


def test_larger_weights_are_said_to_be_larger():
    results = example_results()
    results.memory = [
        replace(record, weight_bytes_loaded=300_000_000 if record.model == "both" else 200_000_000)
        for record in results.memory
    ]
    assert "50 % more weight memory" in summarise(results)[2]
    assert "the same weight memory" in summarise(results)[0]


def test_the_headline_is_taken_at_the_smallest_load():
    results = example_results()
    results.comparisons.reverse()
    chosen = headline_comparison(results, "both")
    assert isinstance(chosen, Comparison)
    assert (chosen.scenario, chosen.metric, chosen.load) == ("latency", "tpot_seconds", 1)
    assert headline_comparison(results, ORIGINAL) is None
