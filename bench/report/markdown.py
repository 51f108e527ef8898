"""A report as Markdown: the same words and tables as the page, without its charts."""

import re

from .content import Report, Section, Table

__all__ = ["render_markdown"]

# A special character, an underscore at the edge of a word, or what would begin a heading, quote or list
_SPECIAL = re.compile(r"([\\`*\[\]<|~$]|(?<!\w)_|_(?!\w)|^[#>+-]|(?<=^\d)\.(?=\s|$))")


def render_markdown(report: Report) -> str:
    """The whole report; every string is escaped, so no name can break a table or become HTML."""
    lines = [f"# {_escape(report.title)}", "", _escape(report.subtitle), ""]
    if report.recommendation:
        first, *rest = map(_escape, report.recommendation)
        lines += [" ".join([f"**{first}**", *rest]), ""]
    if report.decision is not None:
        lines += [*_table(report.decision), ""]
    lines += [f"* {_escape(sentence)}" for sentence in report.headline]
    if report.cautions:
        lines += ["", "Read with care:", "", *(f"* {_escape(caution)}" for caution in report.cautions)]
    for section in report.sections:
        lines += ["", *_section(section)]
    return "\n".join([*lines, "", _escape(report.footer)]) + "\n"


def _section(section: Section) -> list[str]:
    lines = [f"## {_escape(section.title)}"]
    for paragraph in section.paragraphs:
        lines += ["", _escape(paragraph)]
    for table in section.tables:
        lines += ["", *_table(table)]
    for quotes in section.quotes:
        lines += ["", f"**{_escape(quotes.prompt)}**", ""]
        lines += [f"* {_escape(model)}: {_escape(text)}" for model, text in quotes.answers]
    if section.chart is not None:
        lines += ["", f"Drawn in report.html. {_escape(section.chart.source)}"]
    if section.terms:
        lines += ["", *(f"* **{_escape(term)}**: {_escape(meaning)}" for term, meaning in section.terms)]
    if section.items:
        lines += ["", *(f"* {_escape(item)}" for item in section.items)]
    if section.code:
        fence = "`" * max(3, 1 + max(map(len, re.findall("`+", section.code)), default=0))
        lines += ["", f"{fence}sh", section.code, fence]
    return lines


def _table(table: Table) -> list[str]:
    align = ["---:" if numeric else "---" for numeric in table.numeric()]
    lines = [f"**{_escape(table.caption)}**", "", _row(table.titles()), f"| {' | '.join(align)} |"]
    lines += [_row(row) for row in table.rows]
    if table.notes:
        lines += ["", *(f"* {_escape(note)}" for note in table.notes)]
    return lines


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(_escape(cell) for cell in cells)} |"


def _escape(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
