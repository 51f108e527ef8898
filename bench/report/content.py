"""What a report consists of, before it becomes HTML or Markdown."""

from dataclasses import dataclass, field

from .chart_style import Chart

__all__ = ["LONG_ROWS", "Quotes", "Report", "Section", "Table"]

LONG_ROWS = 14  # a longer table is folded


@dataclass(frozen=True, kw_only=True)
class Table:
    """`columns` are titles; one that starts with ">" holds numbers and is set to the right."""

    caption: str
    columns: list[str]
    rows: list[list[str]]
    notes: list[str] = field(default_factory=list)

    def titles(self) -> list[str]:
        """Column titles without the mark."""
        return [column.removeprefix(">") for column in self.columns]

    def numeric(self) -> list[bool]:
        """Per column, whether it holds numbers."""
        return [column.startswith(">") for column in self.columns]

    def verdicts(self) -> list[bool]:
        """Per column, whether it is the verdict, which stays in sight on a phone."""
        return [column == "verdict" for column in self.columns]

    def long(self) -> bool:
        """Whether it is folded until a reader opens it."""
        return len(self.rows) > LONG_ROWS


@dataclass(frozen=True, kw_only=True)
class Quotes:
    """Answers of several models to one prompt, side by side."""

    prompt: str
    answers: list[tuple[str, str]]  # model, text


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading with what belongs under it, in this order."""

    key: str  # unique; the anchor
    title: str
    paragraphs: list[str] = field(default_factory=list)
    chart: Chart | None = None
    quotes: list[Quotes] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    terms: list[tuple[str, str]] = field(default_factory=list)
    items: list[str] = field(default_factory=list)
    code: str = ""

    def empty(self) -> bool:
        """Whether there is nothing to show."""
        parts = (self.paragraphs, self.tables, self.terms, self.items, self.quotes)
        return self.chart is None and not any(parts) and not self.code


@dataclass(frozen=True, kw_only=True)
class Report:
    """The page: the decision and `headline` first, then what limits them, then the sections."""

    title: str
    subtitle: str
    recommendation: list[str]  # one sentence that decides, then what to know
    decision: Table | None
    headline: list[str]
    cautions: list[str]
    sections: list[Section]
    footer: str
