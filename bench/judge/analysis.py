"""PURE. Raw measurements -> paired comparisons and warnings about what may spoil them."""

from statistics import median

from ..record.results import Comparison, Measurement, Results
from .paired import compare_pairs, relative_spread

__all__ = ["BUSY_SHARE", "METRICS", "compare_all", "noise_warnings", "per_round"]

METRICS = {
    "latency": ("ttft_seconds", "tpot_seconds", "e2e_seconds"),
    "throughput": ("output_tokens_per_second",),
    "speculative": ("tpot_seconds", "output_tokens_per_second"),
    "online": ("ttft_seconds", "tpot_seconds", "e2e_seconds", "output_tokens_per_second"),
}
NOISY_SPREAD = 0.05  # of the original's own rounds
BUSY_SHARE = 0.1  # of all cores, used by others


def compare_all(results: Results) -> list[Comparison]:
    """Every metric of every narrow model against the original, in the rounds where both ran."""
    original, *narrow = [model.name for model in results.models]
    found = []
    for scenario, load in _points(results.measurements):
        for metric in METRICS[scenario]:
            first = per_round(results.measurements, original, scenario, load, metric)
            for name in narrow:
                second = per_round(results.measurements, name, scenario, load, metric)
                common = sorted(first.keys() & second.keys())
                if common:
                    pair = [first[number] for number in common], [second[number] for number in common]
                    found.append(_comparison(name, scenario, load, metric, *pair))
    return found


def _points(measurements: list[Measurement]) -> list[tuple[str, int]]:
    """Scenario and load of everything that was timed, in the order of their first measurement."""
    points = ((each.scenario, each.load) for each in measurements if each.scenario in METRICS)
    return list(dict.fromkeys(points))


def per_round(
    measurements: list[Measurement], model: str, scenario: str, load: int, metric: str
) -> dict[int, float]:
    """Round -> median of that round's samples; rounds that failed are missing."""
    return {
        each.round: median(each.samples[metric])
        for each in measurements
        if (each.model, each.scenario, each.load, each.status) == (model, scenario, load, "ok")
        and each.samples.get(metric)
        and median(each.samples[metric]) > 0
    }


def _comparison(
    model: str, scenario: str, load: int, metric: str, original: list[float], narrow: list[float]
) -> Comparison:
    found = compare_pairs(original, narrow, higher_is_better=metric.endswith("_per_second"))
    return Comparison(
        model=model,
        scenario=scenario,  # type: ignore[arg-type]
        load=load,
        metric=metric,
        original_median=median(original),
        narrow_median=median(narrow),
        pairs=found.pairs,
        speedup=found.speedup,
        low=found.low,
        high=found.high,
        verdict=found.verdict,
    )


def noise_warnings(results: Results) -> list[str]:
    """What a reader must know before believing the numbers."""
    original = results.models[0].name
    warnings = []
    for scenario, load in _points(results.measurements):
        for metric in METRICS[scenario]:
            values = list(per_round(results.measurements, original, scenario, load, metric).values())
            spread = relative_spread(values)
            if spread > NOISY_SPREAD:
                warnings.append(
                    f"noisy: {metric} of {original} ({scenario}, load {load}) differed by {spread:.0%} "
                    f"between the quartiles of its {len(values)} rounds"
                )
    busy = [each.busy_elsewhere for each in results.measurements if each.busy_elsewhere is not None]
    if busy and max(busy) > BUSY_SHARE:
        warnings.append(
            f"other processes used up to {max(busy):.0%} of the processor during a measurement "
            f"(median {median(busy):.0%}): repeat on a quiet machine"
        )
    return warnings + _incomplete(results.measurements)


def _incomplete(measurements: list[Measurement]) -> list[str]:
    return [
        f"{each.status}: {each.model}, {each.scenario} at load {each.load}, round {each.round + 1}: "
        f"{each.error}"
        for each in measurements
        if each.status != "ok"
    ]
