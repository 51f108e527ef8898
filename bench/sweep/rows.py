"""PURE. Points that were measured -> one row each, the Pareto fronts, and one `Results` for the report.

Every point was measured against the original in its own run, so its speed-ups are fair on their own. In
the merged results the rounds of the points are numbered one after the other, so that a narrow model's round
still stands beside the original's of the same run.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..judge.pareto import Better, pareto_front
from ..judge.summary import headline_comparison, summarise
from ..record.results import BenchModel, Comparison, Estimate, ModelQuality, Results

__all__ = ["Row", "fronts", "merge", "original_row", "point_row"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One model of the sweep; None where it was not measured."""

    name: str
    hidden_size: int
    intermediate_size: int
    parameters: int
    weight_bytes: int
    perplexity: Estimate | None
    perplexity_ratio: Estimate | None
    kl_nats_per_token: Estimate | None
    decode: Comparison | None
    prefill: Comparison | None
    verified: bool | None

    @property
    def decode_speedup(self) -> float | None:
        """Over the original measured beside it; 1 for the original itself."""
        return self.decode.speedup if self.decode else None


def original_row(results: Results) -> Row:
    """The row that all others are compared to."""
    return _row(results, results.models[0], results.models[0].name, None)


def point_row(results: Results, name: str, *, verified: bool | None) -> Row:
    """The narrow model of a point's own results."""
    return _row(results, results.models[1], name, verified)


def _row(results: Results, model: BenchModel, name: str, verified: bool | None) -> Row:
    measured = results.quality.models if results.quality else []
    quality: ModelQuality | None = next((each for each in measured if each.model == model.name), None)
    narrow = model is not results.models[0]
    return Row(
        name=name,
        hidden_size=model.hidden_size,
        intermediate_size=model.intermediate_size,
        parameters=model.parameters,
        weight_bytes=model.weight_bytes,
        perplexity=quality.perplexity if quality else None,
        perplexity_ratio=quality.perplexity_ratio if quality else None,
        kl_nats_per_token=quality.kl_nats_per_token if quality else None,
        decode=headline_comparison(results, model.name) if narrow else None,
        prefill=_prefill(results, model.name) if narrow else None,
        verified=verified,
    )


def _prefill(results: Results, model: str) -> Comparison | None:
    """Time to the first token at the smallest load, offline where it was measured."""
    for scenario in ("latency", "online"):
        found = [
            comparison
            for comparison in results.comparisons
            if (comparison.model, comparison.scenario, comparison.metric) == (model, scenario, "ttft_seconds")
        ]
        if found:
            return min(found, key=lambda comparison: comparison.load)
    return None


def fronts(original: Row, rows: list[Row]) -> dict[str, list[str]]:
    """Names on the front of perplexity against "speed" and against "memory", the original included.

    A row without the numbers is on no front.
    """
    speeds = {row.name: row.decode_speedup for row in rows}
    speeds[original.name] = 1.0
    return {
        "speed": _front([original, *rows], lambda row: speeds[row.name], "higher"),
        "memory": _front([original, *rows], lambda row: float(row.weight_bytes), "lower"),
    }


def _front(rows: list[Row], coordinate: Callable[[Row], float | None], better: Better) -> list[str]:
    places = {
        row.name: (row.perplexity.value, value)
        for row in rows
        if row.perplexity is not None and (value := coordinate(row)) is not None
    }
    names = list(places)
    return [names[index] for index in pareto_front(list(places.values()), ("lower", better))]


def merge(points: Mapping[str, Results], *, command: str, complete: bool) -> Results:
    """One `Results` of the original and every point.

    What belongs to the original alone (size, memory, ceilings, perplexity) is that of the first point.

    Args:
        points: name of each point -> its results, of an original and one narrow model; at least one.
        command: what reproduces the sweep.
        complete: whether every point of the grid is there.
    """
    renamed = [_renamed(results, name, index) for index, (name, results) in enumerate(points.items())]
    first, original = renamed[0], renamed[0].models[0].name
    merged = replace(
        first,
        command=command,
        complete=complete,
        models=[first.models[0], *(results.models[1] for results in renamed)],
        measurements=[each for results in renamed for each in results.measurements],
        ceilings=_once([results.ceilings for results in renamed], original),
        memory=_once([results.memory for results in renamed], original),
        comparisons=[each for results in renamed for each in results.comparisons],
        warnings=_warnings(points),
    )
    if first.quality is not None:
        measured = [results.quality for results in renamed if results.quality is not None]
        merged.quality = replace(
            first.quality,
            models=_once([quality.models for quality in measured], original),
            tasks=_once([quality.tasks for quality in measured], original),
        )
    merged.summary = summarise(merged)
    return merged


def _once(lists: list[list[Any]], original: str) -> list[Any]:
    """All records, but those of the original from the first list only."""
    return [
        each
        for place, records in enumerate(lists)
        for each in records
        if place == 0 or each.model != original
    ]


def _renamed(results: Results, name: str, index: int) -> Results:
    """The narrow model under the point's name, the rounds after those of the points before."""
    narrow = results.models[1].name

    def rename(records: list[Any]) -> list[Any]:
        return [replace(each, model=name) if each.model == narrow else each for each in records]

    offset = index * results.settings.rounds
    quality = results.quality
    return replace(
        results,
        models=[results.models[0], replace(results.models[1], name=name)],
        measurements=[replace(each, round=each.round + offset) for each in rename(results.measurements)],
        ceilings=rename(results.ceilings),
        memory=rename(results.memory),
        comparisons=rename(results.comparisons),
        quality=replace(quality, models=rename(quality.models), tasks=rename(quality.tasks))
        if quality
        else None,
    )


def _warnings(points: Mapping[str, Results]) -> list[str]:
    found = [f"{name}: {warning}" for name, results in points.items() for warning in results.warnings]
    machines = {(each.environment.processor, each.environment.gpu) for each in points.values()}
    if len(machines) > 1:
        found.insert(
            0,
            f"the points were measured on {len(machines)} kinds of machine: compare their speed-ups, each "
            "against the original on the same machine, and not their times",
        )
    return found
