"""Request rates in the report, from recorded requests. Oracles: counts and quantiles by hand."""

import csv
from dataclasses import replace
from io import StringIO

import pytest

from dotresize.bench.judge.rates import rate_points
from dotresize.bench.record.results import Measurement, Results
from dotresize.bench.report.csv_files import rates_csv
from dotresize.bench.report.markdown import render_markdown
from dotresize.bench.report.page import build_report, render_page

from ..example_models import ORIGINAL
from ..example_results import example_results


def with_rates(ttft: float | None = 0.5, tpot: float | None = 0.02) -> Results:
    """Two rounds at one and two requests a second; the original is too slow for half of the second."""
    results = example_results(rounds=2)
    results.settings = replace(
        results.settings, request_rates=(1.0, 2.0), slo_ttft_seconds=ttft, slo_tpot_seconds=tpot
    )
    for name, slow in ((ORIGINAL, 0.9), ("mlp-0.75", 0.4)):
        for round_number in range(2):
            for load, waits in ((60, [0.1] * 60), (120, [0.1] * 30 + [slow] * 30)):
                samples = {
                    "ttft_seconds": waits,
                    "tpot_seconds": [0.01] * 60,
                    "requests_per_second": [load / 60 * 0.9],
                }
                results.measurements.append(
                    Measurement(
                        model=name,
                        round=round_number,
                        scenario="rate",
                        load=load,
                        status="ok",
                        samples=samples,
                    )
                )
    return results


def test_goodput_counts_what_kept_every_objective() -> None:
    points = {(point.model, point.rate): point for point in rate_points(with_rates())}
    assert len(points) == 4
    late = points[ORIGINAL, 2.0]
    assert (late.good_share, len(late.ttft_seconds)) == (0.5, 120)
    assert late.finished_per_second == pytest.approx(1.8)
    assert late.goodput == pytest.approx(0.9)
    assert points["mlp-0.75", 2.0].goodput == pytest.approx(1.8)
    strict = {(each.model, each.rate): each for each in rate_points(with_rates(tpot=0.009))}
    assert strict["mlp-0.75", 1.0].goodput == 0
    open_ended = rate_points(with_rates(None, None))
    assert {(each.goodput, each.good_share) for each in open_ended} == {(None, None)}


def test_the_report_has_the_curves_and_says_what_is_good() -> None:
    report = build_report(with_rates())
    (section,) = [section for section in report.sections if section.key == "rates"]
    assert section.chart is not None
    assert [panel.label.partition(",")[0].partition(" in")[0] for panel in section.chart.panels] == [
        "time to first token",
        "time per output token",
        "Goodput",
    ]
    assert f"{ORIGINAL} at 2 requests/s 0.9" in section.chart.panels[2].label
    assert "TTFT of at most 0.5 s and TPOT of at most 0.02 s" in section.paragraphs[0]
    (table,) = section.tables
    assert table.titles()[-3:] == ["goodput, requests/s", "good", "requests"]
    assert [
        ORIGINAL,
        "2",
        "1.80",
        "500 ms",
        "900 ms",
        "10.0 ms",
        "10.0 ms",
        "0.900",
        "50 %",
        "120",
    ] in table.rows
    assert "Under a given request rate" in render_page(report)
    assert "goodput" in render_markdown(report)


def test_without_objectives_there_is_no_goodput() -> None:
    report = build_report(with_rates(None, None))
    (section,) = [section for section in report.sections if section.key == "rates"]
    assert section.chart is not None
    assert len(section.chart.panels) == 2
    assert "goodput, requests/s" not in section.tables[0].titles()
    assert "--slo-ttft-seconds" in section.paragraphs[0]


def test_without_rates_nothing_is_said() -> None:
    assert "rates" not in [section.key for section in build_report(example_results(rounds=2)).sections]


def test_the_rates_as_csv() -> None:
    rows = list(csv.DictReader(StringIO(rates_csv(with_rates()))))
    late = next(row for row in rows if (row["model"], row["arrive_per_second"]) == (ORIGINAL, "2.0"))
    assert float(late["ttft_seconds_p99"]) == 0.9
    assert float(late["goodput_per_second"]) == pytest.approx(0.9)
