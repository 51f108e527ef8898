"""How the plots of all pages look."""

from typing import Any

__all__ = ["page_style"]


def page_style(page: str) -> dict[Any, Any]:
    """For `matplotlib.rc_context`: text stays text, and a page's plots are the same bytes each time."""
    return {
        "svg.fonttype": "none",
        "svg.hashsalt": page,
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "grid.linewidth": 0.4,
        "figure.constrained_layout.use": True,
    }
