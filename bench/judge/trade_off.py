"""PURE. Which model to ship: every model's quality beside its speed and its weight memory."""

from dataclasses import dataclass

from ..record.results import Estimate, Results
from .summary import headline_comparison

__all__ = ["Point", "points"]


@dataclass(frozen=True, kw_only=True)
class Point:
    """One model in the trade-off. The original has speed-up 1 by definition."""

    model: str
    perplexity: float
    perplexity_error: float | None  # standard error
    weight_bytes: int
    speedup: float | None  # None: not measured
    low: float | None
    high: float | None


def points(results: Results) -> list[Point]:
    """Every model whose perplexity was measured, the original first; empty without it."""
    records = {record.model: record for record in results.quality.models} if results.quality else {}
    memory = {record.model: record for record in results.memory}
    original = results.models[0].name
    found = []
    for model in results.models:
        if model.name not in records:
            continue
        record = records[model.name]
        speed = headline_comparison(results, model.name)
        held = memory.get(model.name)
        found.append(
            Point(
                model=model.name,
                perplexity=record.perplexity.value,
                perplexity_error=_paired_error(record.perplexity, record.perplexity_ratio),
                weight_bytes=held.weight_bytes_predicted if held else model.weight_bytes,
                speedup=1.0 if model.name == original else speed.speedup if speed else None,
                low=speed.low if speed else None,
                high=speed.high if speed else None,
            )
        )
    return found


def _paired_error(perplexity: Estimate, ratio: Estimate | None) -> float | None:
    """The error of the difference to the original; texts vary far more than models do on one text."""
    if ratio is None or ratio.standard_error is None:
        return None
    return perplexity.value * ratio.standard_error / ratio.value
