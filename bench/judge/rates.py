"""PURE. What became of requests that arrived at a rate, all rounds together, and how many were good."""

from dataclasses import dataclass

from ..record.rates import per_second
from ..record.results import Measurement, Results

__all__ = ["RatePoint", "objectives", "rate_points"]


@dataclass(frozen=True, kw_only=True)
class RatePoint:
    """One model at one rate."""

    model: str
    rate: float  # arrivals a second
    ttft_seconds: list[float]  # of every request
    tpot_seconds: list[float]
    finished_per_second: float  # well below `rate`: requests piled up
    goodput: float | None  # good requests a second; None without an objective
    good_share: float | None


def objectives(results: Results) -> str:
    """What a good request keeps, in words; empty without an objective."""
    settings = results.settings
    known = (("TTFT", settings.slo_ttft_seconds), ("TPOT", settings.slo_tpot_seconds))
    return " and ".join(f"{name} of at most {value:g} s" for name, value in known if value is not None)


def rate_points(results: Results) -> list[RatePoint]:
    """In the order of models and rates; points that never succeeded are missing."""
    found: dict[tuple[int, int], list[Measurement]] = {}
    order = [model.name for model in results.models]
    for each in results.measurements:
        if each.scenario == "rate" and each.status == "ok":
            found.setdefault((order.index(each.model), each.load), []).append(each)
    return [_point(results, measured) for _, measured in sorted(found.items())]


def _point(results: Results, measured: list[Measurement]) -> RatePoint:
    settings = results.settings
    ttft, tpot = (
        [value for each in measured for value in each.samples[name]]
        for name in ("ttft_seconds", "tpot_seconds")
    )
    seconds = sum(len(m.samples["ttft_seconds"]) / m.samples["requests_per_second"][0] for m in measured)
    good = sum(
        first <= (settings.slo_ttft_seconds or first) and later <= (settings.slo_tpot_seconds or later)
        for first, later in zip(ttft, tpot, strict=True)
    )
    judged = bool(objectives(results))
    return RatePoint(
        model=measured[0].model,
        rate=per_second(measured[0].load),
        ttft_seconds=ttft,
        tpot_seconds=tpot,
        finished_per_second=len(ttft) / seconds,
        goodput=good / seconds if judged else None,
        good_share=good / len(ttft) if judged else None,
    )
