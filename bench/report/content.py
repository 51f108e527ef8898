"""What a report consists of, before it becomes HTML or Markdown."""

from dataclasses import dataclass, field

from .chart_style import Chart

__all__ = ["Report", "Section", "Table"]


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


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading with what belongs under it, in this order."""

    key: str  # unique; the anchor
    title: str
    paragraphs: list[str] = field(default_factory=list)
    chart: Chart | None = None
    tables: list[Table] = field(default_factory=list)
    terms: list[tuple[str, str]] = field(default_factory=list)
    items: list[str] = field(default_factory=list)
    code: str = ""

    def empty(self) -> bool:
        """Whether there is nothing to show."""
        parts = (self.paragraphs, self.tables, self.terms, self.items)
        return self.chart is None and not any(parts) and not self.code


@dataclass(frozen=True, kw_only=True)
class Report:
    """The page: `headline` first, then what limits it, then the sections."""

    title: str
    subtitle: str
    headline: list[str]
    cautions: list[str]
    sections: list[Section]
    footer: str
