"""PURE. How metrics, loads, numbers and units are written, the same in every report."""

import math
from dataclasses import dataclass

from ..record.rates import per_second
from ..record.results import BenchModel, Estimate

__all__ = [
    "LOADS",
    "METRICS",
    "MISSING",
    "SCENARIOS",
    "Metric",
    "bytes_text",
    "estimate_text",
    "higher_is_better",
    "keys",
    "load_text",
    "metric",
    "metric_value",
    "scaled_bytes",
    "scaled_seconds",
    "seconds_text",
    "significant",
    "width_change",
]

MISSING = "–"
SCENARIOS = {
    "latency": "Latency: one batch at a time",
    "throughput": "Throughput: all requests at once",
    "online": "Online: streaming requests over HTTP",
    "speculative": "Speculative: the original with a narrow model as its draft",
}
LOADS = {
    "latency": "batch size",
    "throughput": "requests",
    "online": "requests in flight",
    "speculative": "draft tokens",
}


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric's short label, its name in words, and what it means."""

    label: str
    name: str
    definition: str


METRICS = {
    "ttft_seconds": Metric(
        label="TTFT",
        name="time to first token",
        definition="from sending the request (or starting the batch) until its first output token arrives: "
        "queueing and prefill. Where the engine does not stream (vLLM offline): the time of the same batch "
        "with one output token",
    ),
    "tpot_seconds": Metric(
        label="TPOT",
        name="time per output token",
        definition="(E2E - TTFT) / (output tokens - 1), one value per request or batch: the mean time of a "
        "decoding step",
    ),
    "itl_seconds": Metric(
        label="ITL",
        name="inter-token latency",
        definition="the gap between two streamed tokens of one request, one value per gap: shows stalls "
        "that TPOT averages away",
    ),
    "e2e_seconds": Metric(
        label="E2E",
        name="end-to-end latency",
        definition="from sending the request (or starting the batch) until its last output token arrives",
    ),
    "output_tokens_per_second": Metric(
        label="output tokens/s",
        name="output throughput",
        definition="output tokens of all requests divided by the wall time from the first start to the last "
        "end",
    ),
    "total_tokens_per_second": Metric(
        label="all tokens/s",
        name="total throughput",
        definition="input and output tokens of all requests divided by the wall time",
    ),
    "goodput": Metric(
        label="goodput",
        name="goodput",
        definition="requests that kept every objective (--slo-ttft-seconds, --slo-tpot-seconds), divided by "
        "the wall time from the first arrival to the last end",
    ),
    "requests_per_second": Metric(
        label="requests/s",
        name="request throughput",
        definition="finished requests divided by the wall time",
    ),
    "peak_memory_bytes": Metric(
        label="peak memory",
        name="peak resident memory",
        definition="the highest resident memory of the engine's whole process tree",
    ),
    "weight_bytes_loaded": Metric(
        label="loaded weights",
        name="loaded weights",
        definition="what the weights occupy once the engine has loaded them, as far as it says",
    ),
}


def metric(key: str) -> Metric:
    """The words for a key of `Measurement.samples`; unknown keys are spelt out."""
    if key in METRICS:
        return METRICS[key]
    words = key.removesuffix("_seconds").removesuffix("_per_second").replace("_", " ")
    label = f"{words}/s" if key.endswith("_per_second") else words
    return Metric(label=label, name=label, definition="")


def higher_is_better(key: str) -> bool:
    """Rates are better when larger; durations and bytes when smaller."""
    return key.endswith("_per_second")


def keys(models: list[BenchModel]) -> dict[str, str]:
    """Model name -> the letter that stands for it in the charts: A is the original."""
    return {model.name: _letters(place) for place, model in enumerate(models)}


def _letters(place: int) -> str:
    prefix = _letters(place // 26 - 1) if place >= 26 else ""
    return prefix + chr(ord("A") + place % 26)


def load_text(scenario: str, load: int) -> str:
    """E.g. "batch size 8", "16 requests in flight"."""
    if scenario == "latency":
        return f"batch size {load}"
    if scenario == "rate":
        return f"{per_second(load):.4g} requests/s"
    if scenario not in LOADS:
        return MISSING
    if scenario == "speculative":
        return f"{load} draft token{'s' if load > 1 else ''}" if load else "no draft: each model alone"
    noun = "request" if load == 1 else "requests"
    return f"{load} {noun} in flight" if scenario == "online" else f"{load} {noun}"


def significant(value: float, digits: int = 3) -> str:
    """Rounded to significant digits, thousands separated, never in scientific notation."""
    if value == 0:
        return "0"
    decimals = digits - 1 - math.floor(math.log10(float(f"{abs(value):.{digits - 1}e}")))
    return f"{value:,.{max(0, decimals)}f}"


def scaled_seconds(longest: float) -> tuple[float, str]:
    """Factor and unit that suit durations up to `longest` seconds."""
    if longest >= 1:
        return 1.0, "s"
    return (1e3, "ms") if longest >= 1e-3 else (1e6, "µs")


def scaled_bytes(largest: float) -> tuple[float, str]:
    """Factor and unit (decimal) that suit sizes up to `largest` bytes."""
    for limit, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if largest >= limit:
            return 1 / limit, unit
    return 1.0, "B"


def seconds_text(value: float | None) -> str:
    """E.g. "12.3 ms"."""
    if value is None:
        return MISSING
    factor, unit = scaled_seconds(abs(value))
    return f"{significant(value * factor)} {unit}"


def bytes_text(value: float | None) -> str:
    """E.g. "269 MB", decimal units."""
    if value is None:
        return MISSING
    factor, unit = scaled_bytes(abs(value))
    return f"{significant(value * factor)} {unit}"


def metric_value(key: str, value: float) -> str:
    """A value of a metric with its unit."""
    if key.endswith("_per_second"):
        return significant(value)
    if "_bytes" in key:
        return bytes_text(value)
    return seconds_text(value) if key.endswith("_seconds") else significant(value)


def estimate_text(estimate: Estimate | None, decimals: int) -> str:
    """E.g. "27.10 ± 0.31": the value and its standard error."""
    if estimate is None:
        return MISSING
    error = estimate.standard_error
    return f"{estimate.value:.{decimals}f}" + ("" if error is None else f" ± {error:.{decimals}f}")


def width_change(original: BenchModel, narrow: BenchModel) -> str:
    """E.g. "intermediate_size 1536 -> 1152"; "same widths" when nothing differs."""
    names = (
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
    )
    changes = [
        f"{name} {getattr(original, name)} -> {getattr(narrow, name)}"
        for name in names
        if getattr(original, name) != getattr(narrow, name)
    ]
    return ", ".join(changes) or "same widths"
