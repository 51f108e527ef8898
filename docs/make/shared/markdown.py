"""Tables of the pages."""

from collections.abc import Iterable, Mapping, Sequence

__all__ = ["failures", "table"]


def table(heads: Sequence[str], rows: Iterable[Iterable[object]]) -> list[str]:
    """The lines of a Markdown table.

    Args:
        heads: of the columns.
        rows: as many cells as heads each.
    """
    lines = [_row(heads), "|" + "---|" * len(heads)]
    return lines + [_row(cells) for cells in rows]


def _row(cells: Iterable[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def failures(failed: Mapping[str, str]) -> list[str]:
    """The lines about what could not be measured, and why; none where nothing failed.

    Args:
        failed: label -> reason.
    """
    if not failed:
        return []
    lines = [f"* {label}: {reason}" for label, reason in sorted(failed.items())]
    return ["Failed, and tried again by the next run:", "", *lines, ""]
