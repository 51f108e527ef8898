import re
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from typing import Any

import pytest

from dotresize.bench.judge.wording import keys
from dotresize.bench.record.results import BenchModel, Results
from dotresize.bench.report.chart_style import INK, SERIES, VARIABLES, Chart, plot
from dotresize.bench.report.charts import pareto_chart, speedup_chart
from dotresize.bench.report.charts_latency import latency_chart
from dotresize.bench.report.charts_memory import memory_chart
from dotresize.bench.report.charts_parts import part_chart

from ..example_models import ORIGINAL
from ..example_results import example_results

MAKERS = (pareto_chart, speedup_chart, latency_chart, memory_chart, part_chart)


@pytest.fixture(scope="module")
def charts() -> list[Chart]:
    made = [make(example_results(), "Source: results.json, 5 rounds.") for make in MAKERS]
    return [chart for chart in made if chart is not None]


def test_every_chart_has_a_source_a_caption_and_words_for_each_panel(charts: list[Chart]):
    assert len(charts) == len(MAKERS)
    for chart in charts:
        assert chart.source == "Source: results.json, 5 rounds."
        assert len(chart.caption) > 40
        assert chart.legend
        for panel in chart.panels:
            assert re.search(r"\d", panel.label), panel.label


def test_panels_are_small_well_formed_svgs_with_text_as_text(charts: list[Chart]):
    for panel in (panel for chart in charts for panel in chart.panels):
        root = ElementTree.fromstring(panel.svg)
        assert root.tag == "svg"
        assert root.get("width") is None  # the page decides
        assert root.findall(".//text")
        assert len(panel.svg) < 60_000


def test_colours_are_css_variables_only(charts: list[Chart]):
    for panel in (panel for chart in charts for panel in chart.panels):
        assert not re.search(r"#[0-9a-fA-F]{6}\b|rgb\(", panel.svg), panel.label
        assert set(re.findall(r"var\((--[a-z0-9-]+)\)", panel.svg)) <= set(VARIABLES.values())


def test_identifiers_are_unique_on_the_page(charts: list[Chart]):
    found = [
        name for chart in charts for panel in chart.panels for name in re.findall(r' id="([^"]+)"', panel.svg)
    ]
    assert len(found) == len(set(found))
    used = [
        name
        for chart in charts
        for panel in chart.panels
        for name in re.findall(r'(?:href="#|url\(#)([^")]+)', panel.svg)
    ]
    assert set(used) <= set(found)


def test_axes_name_their_units(charts: list[Chart]):
    texts = [
        [text.text for text in ElementTree.fromstring(panel.svg).findall(".//text")]
        for chart in charts
        for panel in chart.panels
    ]
    units = {"ms", "s", "MB", "GB", "speed-up"}
    pareto = [row for row in texts if "perplexity (down is better)" in row]
    assert len(pareto) == 2
    assert all(units & set(row) for row in texts if row not in pareto)


def test_labels_of_the_trade_off_do_not_lie_on_each_other():
    """Letters are about 8 points wide and high."""
    results = example_results()
    chart = pareto_chart(results, "")
    assert chart is not None
    letters = set(keys(results.models).values())
    for panel in chart.panels:
        spots = [
            tuple(map(float, re.findall(r"-?[\d.]+", text.get("transform") or "")[-2:]))
            if text.get("x") is None
            else (float(text.get("x") or 0), float(text.get("y") or 0))
            for text in ElementTree.fromstring(panel.svg).findall(".//text")
            if (text.text or "").strip() in letters
        ]
        assert len(spots) == len(letters)
        for place, (x, y) in enumerate(spots):
            for a, b in spots[:place]:
                assert max(abs(x - a), abs(y - b)) > 8


def test_the_front_is_filled_and_the_beaten_are_hollow():
    chart = pareto_chart(example_results(), "")
    assert chart is not None
    speed = chart.panels[0].svg
    hollow = "fill: var(--surface); stroke: var(--series-2)"  # hidden-0.8: slower and worse than the original
    assert hollow in speed
    assert "fill: var(--surface); stroke: var(--series-1)" not in speed


def test_a_point_out_of_memory_is_marked():
    chart = speedup_chart(example_results(), "")
    assert chart is not None
    assert "hidden-0.8 at batch size 32 without a number" in chart.panels[0].label
    assert any("out of memory" in entry.text for entry in chart.legend)


def test_a_wild_round_makes_the_axis_logarithmic():
    results = example_results()
    results.comparisons = [replace(c, low=0.07, high=17.4) for c in results.comparisons]
    chart = speedup_chart(results, "")
    assert chart is not None
    ticks = [text.text for text in ElementTree.fromstring(chart.panels[0].svg).findall(".//text")]
    assert {"0.10x", "1.00x", "10.00x"} <= set(ticks)


def test_names_cannot_become_markup_or_mathematics():
    name = "<script>$\\frac$&\"'"
    with plot("hostile", "label") as drawing:
        drawing.axes.set_title(name, color=INK)
        drawing.axes.plot([0, 1], [0, 1], color=SERIES[0])
    svg = drawing.finished().svg
    assert "<script>" not in svg
    assert name in [text.text for text in ElementTree.fromstring(svg).findall(".//text")]


def test_letters_go_on_after_z():
    models = [replace(example_results(rounds=1).models[0], name=str(number)) for number in range(54)]
    letters = list(keys(models).values())
    assert (letters[25], letters[26], letters[51], letters[52]) == ("Z", "AA", "AZ", "BA")


def test_nothing_is_drawn_without_data():
    results = example_results()
    results.quality, results.memory, results.ceilings = None, [], []
    results.comparisons, results.measurements = [], []
    assert [make(results, "") for make in MAKERS] == [None] * len(MAKERS)


def grown(results: Results, count: int) -> Results:
    """A sweep: many narrow models, all like the first."""

    def copy(model: BenchModel, number: int) -> BenchModel:
        return replace(model, name=f"point-{number}")

    pattern = "mlp-0.75"
    first = next(model for model in results.models if model.name == pattern)
    results.models = [results.models[0], *(copy(first, number) for number in range(count))]

    def repeat(records: list[Any]) -> list[Any]:
        kept = [record for record in records if record.model == ORIGINAL]
        source = [record for record in records if record.model == pattern]
        return kept + [replace(r, model=f"point-{n}") for n in range(count) for r in source]

    results.measurements = repeat(results.measurements)
    results.comparisons = repeat(results.comparisons)
    results.memory, results.ceilings = repeat(results.memory), repeat(results.ceilings)
    assert results.quality is not None
    results.quality = replace(results.quality, models=repeat(results.quality.models), tasks=[])
    return results


def test_a_sweep_of_ten_models_is_drawn_too():
    """More models than colours and than a panel holds."""
    results = grown(example_results(rounds=2), 10)
    assert keys(results.models)["point-9"] == "K"
    for make in MAKERS:
        assert make(results, "") is not None
