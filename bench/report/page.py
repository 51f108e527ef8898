"""The report of a run: one self-contained HTML page, and the same in Markdown.

The page needs no network: styles and charts are inline, and so is a script that sorts tables, without which
all is there too. The same results give the same bytes. Sections without data are left out, and the page says
what was not measured.
"""

import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import MissingDependencyError
from ...export.disk.staging import write_atomically
from ..judge.decision import decision_rows, recommendation
from ..judge.summary import summarise
from ..judge.wording import SCENARIOS, significant
from ..record.results import Results

if TYPE_CHECKING:
    from .content import Report, Section, Table

__all__ = ["build_report", "write_report"]

RESULTS_FILE = "results.json"
TEMPLATE = Path(__file__).with_name("report.html.j2")


def write_report(results: Results, directory: Path, *, results_file: str = RESULTS_FILE) -> None:
    """Write `report.html`, `report.md`, `comparisons.csv`, `samples.csv` and `rates.csv`, each in one step.

    Args:
        results: what `results.read` gives; it may be incomplete.
        directory: where to; must exist; older reports in it are replaced.
        results_file: name of the JSON file, for the source lines of the charts.

    Raises:
        MissingDependencyError: matplotlib or jinja2 is not installed.
    """
    for module in ("matplotlib", "jinja2"):
        if importlib.util.find_spec(module) is None:
            raise MissingDependencyError(
                f'the report needs {module}, which is not installed: pip install "dotresize[bench]"'
            )
    from .csv_files import comparisons_csv, rates_csv, samples_csv
    from .markdown import render_markdown

    report = build_report(results, results_file)
    page = render_page(report)
    write_atomically(directory / "report.html", page)
    write_atomically(directory / "report.md", render_markdown(report))
    write_atomically(directory / "comparisons.csv", comparisons_csv(results))
    write_atomically(directory / "samples.csv", samples_csv(results))
    if results.settings.request_rates:
        write_atomically(directory / "rates.csv", rates_csv(results))


def render_page(report: "Report") -> str:
    """The HTML page. Every string is escaped; the charts alone are inserted as they are."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["chart"] = Markup
    environment.filters["tie"] = _tie
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(report=report) + "\n"


def _tie(text: str) -> str:
    """Typographic arrows, and no line break between a number and its unit."""
    return re.sub(r"(?<=\d) (?=(?:%|µs|ms|s|[kMG]?B|W|MHz)(?!\w))", "\u00a0", text.replace(" -> ", " → "))


def build_report(results: Results, results_file: str = RESULTS_FILE) -> "Report":
    """Everything that the report says, in order."""
    from .content import Report
    from .decision_table import decision_table

    settings = results.settings
    rows = [] if settings.scenarios == ("speculative",) else decision_rows(results)
    return Report(
        title="What narrowing gains, and what it costs",
        subtitle=f"{results.models[0].name} and {_count(len(results.models) - 1, 'further model')} through "
        f"{settings.engine} on {results.environment.gpu or results.environment.processor}, "
        f"{settings.input_tokens} tokens in, {settings.output_tokens} out, "
        f"{_count(settings.rounds, 'round')}. Measured on {results.created_utc[:10]}.",
        recommendation=recommendation(rows, results.models[0].name),
        decision=decision_table(rows),
        headline=summarise(results),
        cautions=_cautions(results),
        sections=[section for section in _sections(results, results_file) if not section.empty()],
        footer=f"Measured {results.created_utc} by dotresize {results.tool_version}; every number is in "
        f"{results_file} (schema {results.schema_version}), raw samples included; comparisons.csv and "
        "samples.csv hold the same for spreadsheets.",
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _cautions(results: Results) -> list[str]:
    found = [] if results.complete else ["This run is not complete: some points are still to be measured."]
    lost = sum(measurement.status != "ok" for measurement in results.measurements)
    if lost:
        verb = "has" if lost == 1 else "have"
        found.append(
            f"{lost} of {len(results.measurements)} points {verb} no number "
            "(failed or out of memory); they are listed below."
        )
    return [*found, *results.warnings]


def _sections(results: Results, results_file: str) -> "list[Section]":
    from ..judge.speculative_words import speculative_words
    from . import charts, charts_latency, charts_memory, charts_parts, charts_rate, facts, tables
    from .content import Section
    from .decision_table import quotes
    from .rate_table import rate_table, rate_words
    from .speculative_table import speculative_table

    source = _source(results, results_file)
    speed = [
        Section(key=name, title=title, tables=_present(tables.scenario_table(results, name)))
        for name, title in SCENARIOS.items()
    ]
    drafts = Section(
        key="drafts",
        title="What the drafts are worth",
        paragraphs=speculative_words(results),
        tables=_present(speculative_table(results)),
    )
    details = [tables.percentile_table(results, name) for name in ("latency", "online")]
    details.append(tables.ceiling_table(results))
    text, answers = results.quality, quotes(results)
    quality = tables.quality_table(results), tables.task_table(results)
    quality_source = "" if text is None else f" Text SHA-256 {text.text_sha256[:12]}."
    return [
        Section(
            key="trade-off",
            title="The trade-off",
            chart=charts.pareto_chart(results, source + quality_source),
        ),
        Section(
            key="speed-up",
            title="Speed-up against the ceiling",
            chart=charts.speedup_chart(results, source),
        ),
        *speed,
        Section(
            key="rates",
            title="Under a given request rate",
            paragraphs=rate_words(results),
            chart=charts_rate.rate_chart(results, source),
            tables=_present(rate_table(results)),
        ),
        drafts,
        Section(
            key="parts",
            title="Where the time goes",
            chart=charts_parts.part_chart(results, source),
        ),
        Section(
            key="latencies",
            title="Latency distributions",
            chart=charts_latency.latency_chart(results, source),
        ),
        Section(
            key="memory",
            title="Memory",
            paragraphs=_memory_words(results),
            chart=charts_memory.memory_chart(results, source),
            tables=_present(tables.memory_table(results)),
        ),
        Section(key="quality", title="Quality", tables=_present(*quality)),
        Section(
            key="answers",
            title="Sample answers",
            paragraphs=["Greedy answers to the same prompts, cut after 40 tokens where … stands."]
            * bool(answers),
            quotes=answers,
        ),
        Section(
            key="lost",
            title="Failed and out of memory",
            tables=_present(facts.lost_table(results)),
        ),
        Section(key="gaps", title="What was not measured", items=facts.not_measured(results)),
        Section(
            key="environment",
            title="Models, machine and settings",
            tables=[
                *facts.model_tables(results),
                *facts.environment_tables(results),
                facts.settings_table(results),
            ],
        ),
        Section(key="reproduce", title="Reproduce", code=_commands(results, results_file)),
        Section(
            key="definitions",
            title="Definitions",
            terms=facts.metric_terms(results),
            paragraphs=list(facts.INTERVAL) if results.comparisons else [],
        ),
        Section(key="details", title="All percentiles and parts", tables=_present(*details)),
    ]


def _present(*tables: "Table | None") -> "list[Table]":
    return [table for table in tables if table is not None]


def _source(results: Results, results_file: str) -> str:
    good = sum(measurement.status == "ok" for measurement in results.measurements)
    rounds = len({measurement.round for measurement in results.measurements})
    return f"Source: {results_file}, {_count(rounds, 'round')}, {_count(good, 'measurement')}."


def _memory_words(results: Results) -> list[str]:
    if not results.memory:
        return []
    original, *narrow = results.memory
    if not original.tokens_that_fit:
        return []
    shares = [
        f"{record.model} {significant(record.tokens_that_fit)} ("
        f"{record.tokens_that_fit / original.tokens_that_fit:.2f}x)"
        for record in narrow
    ]
    return [
        f"In the memory that {original.model} needs for its weights and {original.reference_tokens:,} "
        f"tokens of KV cache, this many tokens fit: {', '.join(shares)}."
    ] * bool(shares)


def _commands(results: Results, results_file: str) -> str:
    later = f"dotresize bench --compare {results_file} NEW.json --fail-above 5%"
    return f"{results.command}\n# to see whether a later run got worse:\n{later}"
