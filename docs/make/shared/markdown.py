"""Tables of the pages."""

from collections.abc import Iterable, Sequence

__all__ = ["table"]


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
