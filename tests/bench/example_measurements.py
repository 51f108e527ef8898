"""Rounds, ceilings and comparisons for `example_results`. EVERY NUMBER HERE IS MADE UP."""

from random import Random
from statistics import median
from typing import Any, Literal

from dotresize.bench.judge.paired import compare_pairs
from dotresize.bench.record.results import Ceiling, Comparison, Measurement, Phase, Results

from .example_models import ORIGINAL, SHAPES, example_model

__all__ = ["example_ceiling", "example_comparisons", "measure_round"]

SPEED = {ORIGINAL: 1.0, "mlp-0.75": 1.21, "hidden-0.8": 1.002, "both": 1.24}


def measure_round(results: Results, number: int, draw: Random, noise: float, slowdown: float) -> None:
    settings = results.settings
    loads: list[tuple[Literal["latency", "throughput", "online"], tuple[int, ...]]] = [
        ("latency", settings.batch_sizes),
        ("throughput", (settings.requests,)),
        ("online", settings.concurrency),
    ]
    for scenario, sizes in loads:
        for load in sizes:
            drift = draw.gauss(1, 3 * noise)  # disturbs all models of a round alike
            for name in SHAPES:
                factor = drift / SPEED[name] * (slowdown if name == "mlp-0.75" else 1)
                results.measurements.append(_measure(name, number, scenario, load, factor, draw, noise))


def _measure(
    name: str,
    number: int,
    scenario: Literal["latency", "throughput", "online"],
    load: int,
    factor: float,
    draw: Random,
    noise: float,
) -> Measurement:
    common: dict[str, Any] = {"model": name, "round": number, "scenario": scenario, "load": load}
    if name == "hidden-0.8" and (scenario, load) == ("latency", 32):
        return Measurement(**common, status="out of memory", error="Cannot allocate 2.1 GB for the KV cache")
    if name == "both" and (scenario, load, number) == ("online", 16, 2):
        return Measurement(**common, status="failed", error="engine exited with status -11 <during warm-up>")
    if scenario == "throughput":
        samples = {"output_tokens_per_second": [410 / factor * draw.gauss(1, noise)]}
    else:
        count = 3 if scenario == "latency" else 64
        samples = _latencies(factor, load, count, draw, noise * (1 if scenario == "latency" else 6))
    return Measurement(
        **common,
        status="ok",
        samples=samples,
        peak_memory_bytes=int(2.3e9 + draw.gauss(0, 1e6)),
        busy_elsewhere=0.12 if number == 2 else 0.01,
        started_utc="2026-01-02T03:04:05Z",
    )


def _latencies(factor: float, load: int, count: int, draw: Random, noise: float) -> dict[str, list[float]]:
    first = [0.041 * factor * load**0.8 * abs(draw.gauss(1, noise)) for _ in range(count)]
    step = [0.0124 * factor * load**0.15 * abs(draw.gauss(1, noise)) for _ in range(count)]
    return {
        "ttft_seconds": first,
        "tpot_seconds": step,
        "e2e_seconds": [head + 127 * tail for head, tail in zip(first, step, strict=True)],
    }


def example_ceiling(name: str, phase: Phase, size: int) -> Ceiling:
    tokens = 128 * size if phase == "prefill" else size
    seconds: dict[str, float] = {}
    bound: dict[str, Literal["bytes", "flops"]] = {}
    for part, cost in example_model(name).parts.items():
        by_bytes, by_flops = cost.decode_bytes / 42e9, cost.flops_per_token * tokens / 1.1e12
        seconds[part] = max(by_bytes, by_flops)
        bound[part] = "bytes" if by_bytes > by_flops else "flops"
    seconds["context"], bound["context"] = size * 0.0001, "bytes"
    return Ceiling(
        model=name,
        phase=phase,
        batch_size=size,
        seconds=sum(seconds.values()),
        seconds_by_part=seconds,
        bound_by_part=bound,
        kernel_seconds_by_part={part: value * 1.15 for part, value in seconds.items()},
    )


def example_comparisons(results: Results) -> list[Comparison]:
    values: dict[tuple[str, int, str, str], dict[int, float]] = {}
    for measurement in results.measurements:
        for key, samples in measurement.samples.items():
            point = (measurement.scenario, measurement.load, key, measurement.model)
            values.setdefault(point, {})[measurement.round] = median(samples)
    found = []
    for (scenario, load, key, name), rounds in values.items():
        if name == ORIGINAL:
            continue
        original = values[scenario, load, key, ORIGINAL]
        pairs = compare_pairs(
            [original[number] for number in rounds],
            list(rounds.values()),
            higher_is_better=key.endswith("per_second"),
        )
        ceilings = _speedup_ceilings(results, name, scenario, load, key)
        fraction = pairs.speedup / ceilings["ceiling"] if "ceiling" in ceilings else None
        found.append(
            Comparison(
                model=name,
                scenario=scenario,  # type: ignore[arg-type]
                load=load,
                metric=key,
                original_median=median(original.values()),
                narrow_median=median(rounds.values()),
                pairs=pairs.pairs,
                speedup=pairs.speedup,
                low=pairs.low,
                high=pairs.high,
                verdict=pairs.verdict,
                **ceilings,
                fraction_of_ceiling=fraction,
                held_back_by="the head, which is as large as before and takes 29 % of the time"
                if fraction is not None and fraction < 0.9
                else "",
            )
        )
    return found


def _speedup_ceilings(results: Results, name: str, scenario: str, load: int, key: str) -> dict[str, float]:
    phase = {"tpot_seconds": "decode", "ttft_seconds": "prefill"}.get(key)
    if scenario != "latency" or phase is None:
        return {}
    seconds = {
        ceiling.model: ceiling.seconds
        for ceiling in results.ceilings
        if (ceiling.phase, ceiling.batch_size) == (phase, load)
    }
    best = seconds[ORIGINAL] / seconds[name]
    return {"ceiling": best, "kernel_ceiling": 1 + 0.9 * (best - 1)}
