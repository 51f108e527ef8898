"""Oracles: the example's own numbers, which every point keeps under its new name."""

from dataclasses import replace
from typing import Any

import pytest

from dotresize.bench.record.results import Results
from dotresize.bench.sweep.rows import fronts, merge, original_row, point_row

from ..example_models import ORIGINAL
from ..example_results import example_results


def point(name: str, seed: int) -> Results:
    """What `dotresize bench ORIGINAL POINT/model` writes: two models, the narrow one named `model`."""
    full = example_results(seed=seed)
    assert full.quality is not None

    def chosen(records: list[Any]) -> list[Any]:
        kept = [each for each in records if each.model in (ORIGINAL, name)]
        return [replace(each, model="model") if each.model == name else each for each in kept]

    return replace(
        full,
        models=[full.models[0], replace(next(m for m in full.models if m.name == name), name="model")],
        measurements=chosen(full.measurements),
        ceilings=chosen(full.ceilings),
        memory=chosen(full.memory),
        comparisons=chosen(full.comparisons),
        quality=replace(full.quality, models=chosen(full.quality.models), tasks=chosen(full.quality.tasks)),
    )


@pytest.fixture
def points() -> dict[str, Results]:
    return {name: point(name, seed) for seed, name in enumerate(("mlp-0.75", "hidden-0.8", "both"))}


def test_rows_hold_the_numbers_of_each_point(points: dict[str, Results]) -> None:
    row = point_row(points["mlp-0.75"], "mlp-0.75", verified=True)
    (comparison,) = [
        each
        for each in points["mlp-0.75"].comparisons
        if (each.scenario, each.metric, each.load) == ("latency", "tpot_seconds", 1)
    ]
    assert row.decode == comparison
    assert row.prefill is not None
    assert (row.prefill.metric, row.prefill.load) == ("ttft_seconds", 1)
    assert (row.hidden_size, row.intermediate_size, row.verified) == (576, 1152, True)
    assert row.perplexity is not None
    assert row.perplexity.value == 27.08


def test_the_fronts_are_those_of_the_numbers(points: dict[str, Results]) -> None:
    original = original_row(points["mlp-0.75"])
    found = fronts(original, [point_row(each, name, verified=None) for name, each in points.items()])
    # perplexity 21.4, 27.1, 30.7, 28.9 with speed-ups 1, 1.21, 1.00, 1.24: only hidden-0.8 is beaten
    assert found["speed"] == [ORIGINAL, "mlp-0.75", "both"]


def test_a_point_without_perplexity_is_on_no_front(points: dict[str, Results]) -> None:
    rows = [point_row(replace(points["both"], quality=None), "both", verified=None)]
    assert fronts(original_row(points["mlp-0.75"]), rows) == {"speed": [ORIGINAL], "memory": [ORIGINAL]}


def test_merged_results_keep_every_pair(points: dict[str, Results]) -> None:
    merged = merge(points, command="dotresize sweep", complete=True)
    assert [model.name for model in merged.models] == [ORIGINAL, *points]
    assert merged.quality is not None
    assert [each.model for each in merged.quality.models] == [ORIGINAL, *points]
    assert [each.model for each in merged.memory] == [ORIGINAL, *points]
    for index, (name, alone) in enumerate(points.items()):
        speedups = [each.pairs for each in merged.comparisons if each.model == name]
        assert speedups == [each.pairs for each in alone.comparisons]
        rounds = {each.round for each in merged.measurements if each.model == name}
        assert rounds == set(range(index * 5, index * 5 + 5))
        for model, own in ((name, "model"), (ORIGINAL, ORIGINAL)):
            kept = [
                each.samples for each in merged.measurements if each.model == model and each.round in rounds
            ]
            assert kept == [each.samples for each in alone.measurements if each.model == own]
    assert len(merged.summary) == 3


def test_points_of_different_machines_are_warned_about(points: dict[str, Results]) -> None:
    points["both"].environment = replace(points["both"].environment, processor="Another CPU (made up)")
    merged = merge(points, command="dotresize sweep", complete=True)
    assert merged.warnings[0].startswith("the points were measured on 2 kinds of machine")
