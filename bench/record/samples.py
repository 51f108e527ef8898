"""PURE. All samples of one metric, rounds together, their quantiles, and the points without any."""

from .results import Results

__all__ = ["lost_points", "pooled", "quantile"]


def pooled(results: Results) -> dict[tuple[str, str, int, str], list[float]]:
    """(model, scenario, load, metric) -> the samples of all rounds that succeeded."""
    found: dict[tuple[str, str, int, str], list[float]] = {}
    for measurement in results.measurements:
        if measurement.status == "ok":
            for name, samples in measurement.samples.items():
                point = (measurement.model, measurement.scenario, measurement.load, name)
                found.setdefault(point, []).extend(samples)
    return {point: values for point, values in found.items() if values}


def lost_points(results: Results, scenario: str) -> list[tuple[str, int]]:
    """(model, load) of a scenario that were tried and never succeeded."""
    tried = {(m.model, m.load): False for m in results.measurements if m.scenario == scenario}
    for m in results.measurements:
        if m.scenario == scenario and m.status == "ok":
            tried[m.model, m.load] = True
    return [point for point, succeeded in tried.items() if not succeeded]


def quantile(values: list[float], share: float) -> float:
    """Linear interpolation between the sorted values; `share` from 0 to 1."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (place - below)
