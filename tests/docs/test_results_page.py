"""The page of several runs says what the runs hold, and nothing else."""

from dataclasses import replace

from docs.make.results.page import render_page

from ..bench.example_results import example_results


def test_every_model_and_latency_ratio_has_a_row() -> None:
    results = example_results()
    page = render_page({"Engine A": results, "Engine B": results}, "make it")
    assert page.startswith("# What each width gains\n")
    assert page.index("## Engine A") < page.index("## Engine B")
    assert "Made by `make it` on" in page
    shown = [
        each
        for each in results.comparisons
        if each.scenario == "latency" and each.metric in ("ttft_seconds", "tpot_seconds")
    ]
    assert shown
    for each in shown:
        name = {"ttft_seconds": "prefill", "tpot_seconds": "decode"}[each.metric]
        start = f"| {each.model} | {each.load} | {name} | {each.original_median * 1e3:.1f} ms "
        (row,) = [line for line in page.split("## Engine B")[0].splitlines() if line.startswith(start)]
        assert f"{each.speedup:.2f}x" in row
        assert ("no difference" in row) == (each.verdict == "no difference")
    assert page.count("| mlp-0.75 | 576 / 1152 |") == 2


def test_what_is_missing_is_left_blank() -> None:
    results = example_results()
    results.quality, results.machine_rates, results.memory = None, None, []
    results.comparisons = [
        replace(each, ceiling=None, fraction_of_ceiling=None, held_back_by="") for each in results.comparisons
    ]
    page = render_page({"Engine": results}, "make it")
    assert "None" not in page
    assert "Measured rates" not in page
