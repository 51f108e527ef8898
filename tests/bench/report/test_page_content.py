import csv
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from dotresize.bench.judge.summary import summarise
from dotresize.bench.judge.wording import bytes_text, load_text, significant
from dotresize.bench.record import results as results_file
from dotresize.bench.record.results import Results
from dotresize.bench.report.page import TEMPLATE, write_report

from ..example_results import example_results

VOID = {"meta", "link", "br", "path", "use", "rect", "circle", "image"}


class Outline(HTMLParser):
    """Checks nesting; collects tags, attributes and text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def written(results: Results, directory: Path) -> tuple[str, str]:
    write_report(results, directory)
    return (directory / "report.html").read_text(), (directory / "report.md").read_text()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """HTML and Markdown of the example."""
    return written(example_results(), tmp_path_factory.mktemp("report"))


def outline(page: str) -> Outline:
    found = Outline()
    found.feed(page)
    found.close()
    assert found.open == []
    return found


def test_the_page_holds_everything(pages: tuple[str, str]):
    results = example_results()
    page, markdown = pages
    text = " ".join(outline(page).text.replace("\u00a0", " ").split())
    for expected in [
        *(sentence.replace(" -> ", " → ") for sentence in summarise(results)),
        results.command,
        "Cannot allocate 2.1 GB for the KV cache",
        "engine exited with status -11 <during warm-up>",
        "Example CPU 9000 (made up)",
        "Source: results.json, 5 rounds, 134 measurements.",
        "Other processes used 12 % of the cores",
        "GPU: none was used",
        "Student's t on the logarithms",
        "TTFT, time to first token",
        "the head, which is as large as before",
        "arc_easy",
        "1,100 GFLOP/s",
        "Ship mlp-0.75: 1.21x decode throughput at batch size 1, 15 % less weight memory",
        "Measured on 2026-01-02",
        "passed: 6 checks with transformers 5.19.0",
        "effort=standard hidden_size=576",
        "33 minutes of recovery",
        "More than 100 % of the ceiling (mlp-0.75",
        "the speed-up is within 1 % of 1",
        "return text[::-1] < 'ünïcode'",
    ]:
        assert expected in text, expected
    for expected in ("0.489 ± 0.011", "27.08 ± 1.08", "out of memory", results.command, "| ---: |"):
        assert expected in markdown, expected
    assert text.index("mlp-0.75, intermediate_size") < text.index("The trade-off")  # the headline comes first
    sections = re.findall(r'<h2 id="([^"]+)"', page)
    assert re.findall(r'<a href="#([^"]+)"', page) == sections  # the contents


def test_the_numbers_are_there_for_spreadsheets(tmp_path: Path):
    results = example_results()
    write_report(results, tmp_path)
    compared = list(csv.DictReader((tmp_path / "comparisons.csv").read_text().splitlines()))
    assert [float(row["speedup"]) for row in compared] == [c.speedup for c in results.comparisons]
    samples = list(csv.DictReader((tmp_path / "samples.csv").read_text().splitlines()))
    measured = [x for m in results.measurements for values in m.samples.values() for x in values]
    assert [float(row["value"]) for row in samples if row["value"]] == measured
    assert sum(row["status"] != "ok" for row in samples) == sum(
        m.status != "ok" for m in results.measurements
    )


def test_the_page_is_self_contained(pages: tuple[str, str]):
    page, _ = pages
    tags = outline(page).tags
    assert not {"img", "iframe", "object"} & {tag for tag, _ in tags}
    addresses = [value for _, attrs in tags for name, value in attrs.items() if name in ("src", "href")]
    assert all(value and (value.startswith("#") or value == "data:,") for value in addresses)
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)


def test_charts_and_tables_are_accessible(pages: tuple[str, str]):
    page, _ = pages
    tags = outline(page).tags
    assert ("html", {"lang": "en"}) in tags
    panels = [attrs for _, attrs in tags if attrs.get("class") == "panel"]
    assert panels
    assert all(panel["role"] == "img" and panel["aria-label"] for panel in panels)
    assert sum(tag == "table" for tag, _ in tags) == sum(tag == "caption" for tag, _ in tags)
    assert all(attrs.get("scope") in ("col", "row") for tag, attrs in tags if tag == "th")
    identifiers = [attrs["id"] for _, attrs in tags if "id" in attrs]
    assert len(identifiers) == len(set(identifiers))


def luminance(colour: str) -> float:
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_contrast_is_sufficient(theme: int):
    """WCAG 2.2 AA: text 4.5 to 1, graphics 3 to 1."""
    block = re.findall(r":root \{(.*?)\}", TEMPLATE.read_text(), re.DOTALL)[theme]
    colours = dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6})", block))
    page = luminance(colours["page"])
    for name, colour in colours.items():
        if name in ("page", "surface", "rule", "tint", "care"):
            continue
        light, dark = max(page, luminance(colour)), min(page, luminance(colour))
        needed = 3 if name.startswith("series") else 2.4 if name.startswith("part") else 4.5
        assert (light + 0.05) / (dark + 0.05) >= needed, name  # parts also have an outline and an order


def test_same_results_same_bytes(pages: tuple[str, str], tmp_path: Path):
    results_file.write(example_results(), tmp_path / "results.json")
    assert written(results_file.read(tmp_path / "results.json"), tmp_path) == pages


def test_names_cannot_inject_anything(tmp_path: Path):
    results = example_results()
    name = "<img src=x onerror=alert(1)> | `a` _b_ $1 ${x}"

    def rename(records: list[Any]) -> list[Any]:
        return [replace(r, model=name) if r.model == "both" else r for r in records]

    results.models = [replace(m, name=name) if m.name == "both" else m for m in results.models]
    results.measurements, results.memory = rename(results.measurements), rename(results.memory)
    results.comparisons, results.ceilings = rename(results.comparisons), rename(results.ceilings)
    assert results.quality is not None
    quality = results.quality
    quality = replace(quality, models=rename(quality.models), tasks=rename(quality.tasks))
    results.quality = replace(quality, answers=rename(quality.answers))
    results.command = 'dotresize bench "<b>" ```\n'
    results.warnings = ["# <script>alert(2)</script>"]
    page, markdown = written(results, tmp_path)
    tags = [tag for tag, _ in outline(page).tags]
    assert "img" not in tags
    assert tags.count("script") == 1  # ours
    assert name in outline(page).text
    outside_code = re.sub(r"````sh.*?````", "", markdown, flags=re.DOTALL)
    assert not re.search(r"(?<!\\)<", outside_code)
    tables = [line for line in outside_code.splitlines() if line.startswith("| ")]
    assert all(len(re.findall(r"(?<!\\)\|", line)) >= 3 for line in tables)
    assert "* \\# \\<script>" in markdown


@pytest.mark.parametrize("rounds", [1, 2])
def test_few_rounds_make_a_page(tmp_path: Path, rounds: int):
    page, _ = written(example_results(rounds=rounds), tmp_path)
    assert "too few rounds" in page


def test_absent_sections_are_left_out_and_named(tmp_path: Path):
    results = example_results()
    results.quality, results.memory, results.ceilings, results.machine_rates = None, [], [], None
    results.measurements = [m for m in results.measurements if m.scenario == "latency"]
    results.comparisons = [replace(c, ceiling=None, kernel_ceiling=None) for c in results.comparisons]
    results.comparisons = [c for c in results.comparisons if c.scenario == "latency"]
    results.complete = False
    page, markdown = written(results, tmp_path)
    headings = re.findall(r"<h2 id=\"([^\"]+)\"", page)
    assert "latency" in headings
    assert not {"trade-off", "throughput", "online", "memory", "quality", "parts"} & set(headings)
    for words in (
        "This run is not complete",
        "Throughput: it was asked for, but has no result.",
        "Quality: it was asked for, but has no result.",
        "Ceiling: no machine rates were measured",
    ):
        assert words in page
        assert words in markdown


def test_a_run_that_has_just_begun_makes_a_page(tmp_path: Path):
    results = example_results()
    results.quality, results.memory, results.ceilings, results.machine_rates = None, [], [], None
    results.measurements, results.comparisons = results.measurements[:1], []
    page, _ = written(results, tmp_path)
    assert "speed was not measured" in page
    assert "no round has both models" in page


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (9.96, "9.96"), (9.996, "10.0"), (99.96, "100"), (1234.5, "1,234"), (0.01234, "0.0123")],
)
def test_numbers_are_rounded_to_three_digits(value: float, text: str):
    assert significant(value) == text


def test_units_and_loads_are_written_out():
    assert [bytes_text(size) for size in (None, 512, 23_040, 269e6, 2.33e9)] == [
        "–",
        "512 B",
        "23.0 kB",
        "269 MB",
        "2.33 GB",
    ]
    assert load_text("online", 1) == "1 request in flight"
    assert load_text("latency", 8) == "batch size 8"
