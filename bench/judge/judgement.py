"""From raw measurements to what a reader wants to know: ratios, ceilings, memory, warnings, sentences."""

import os
from dataclasses import replace

from ...compress.record.progress import Progress
from ...errors import EngineError
from ..record.results import Comparison, Results
from ..record.settings import BenchSettings
from ..roofline.ceiling import ceilings, speedup_ceiling
from ..roofline.explain import explain
from ..roofline.machine_rates import measure_in_child
from ..roofline.memory import Loaded, memory_records
from .analysis import compare_all, noise_warnings
from .speculative import speculative_records
from .summary import summarise

__all__ = ["judge"]

SPEED = {"latency", "throughput", "online", "speculative"}


def judge(results: Results, progress: Progress) -> None:
    """Fill in everything that follows from the measurements; measures the machine's rates once."""
    settings = results.settings
    results.comparisons = compare_all(results)
    results.warnings = noise_warnings(results)
    if SPEED & set(settings.scenarios):
        _measure_ceilings(results, progress)
    results.speculative = speculative_records(results, results.comparisons)
    results.comparisons = [_with_ceiling(each, results) for each in results.comparisons]
    if "memory" in settings.scenarios:
        results.memory = memory_records(results.models, settings, results.measurements, _loaded(results))
    results.summary = summarise(results)


def _measure_ceilings(results: Results, progress: Progress) -> None:
    if results.ceilings:
        return
    settings = results.settings
    progress.begin("what the machine could do", 1)
    try:
        rates, kernels = measure_in_child(
            settings.device,
            results.models[0].compute_dtype,
            len(os.sched_getaffinity(0)),
            models=results.models,
            batch_sizes=settings.batch_sizes if "latency" in settings.scenarios else (),
            input_tokens=settings.input_tokens,
        )
    except EngineError as error:
        results.warnings.append(f"no ceiling: {error}")
        return
    progress.advance()
    results.machine_rates = rates
    results.ceilings = ceilings(results.models, settings, rates, kernels)


def _with_ceiling(comparison: Comparison, results: Results) -> Comparison:
    if comparison.scenario == "speculative" and comparison.load:
        return _with_draft_ceiling(comparison, results)
    settings, batch = results.settings, _sequences_together(comparison, results.settings)
    original = results.models[0].name
    common = {
        "original": original,
        "narrow": comparison.model,
        "metric": comparison.metric,
        "batch_size": batch,
        "output_tokens": settings.output_tokens,
    }
    ceiling = speedup_ceiling(results.ceilings, **common)  # type: ignore[arg-type]
    if ceiling is None:
        return comparison
    reason = explain(
        results.ceilings,
        original_seconds=_seconds(comparison.original_median, comparison, batch, settings),
        narrow_seconds=_seconds(comparison.narrow_median, comparison, batch, settings),
        **common,  # type: ignore[arg-type]
    )
    return replace(
        comparison,
        ceiling=ceiling,
        kernel_ceiling=speedup_ceiling(results.ceilings, kernels=True, **common),  # type: ignore[arg-type]
        fraction_of_ceiling=comparison.speedup / ceiling,
        held_back_by=reason,
    )


def _with_draft_ceiling(comparison: Comparison, results: Results) -> Comparison:
    """What costs and acceptance allow a step; tokens per second hold the prefill as well."""
    key = comparison.model, comparison.load
    record = next(each for each in results.speculative if (each.model, each.draft_tokens) == key)
    if record.ceiling is None or comparison.metric != "tpot_seconds":
        return comparison
    return replace(
        comparison, ceiling=record.ceiling, fraction_of_ceiling=comparison.speedup / record.ceiling
    )


def _sequences_together(comparison: Comparison, settings: BenchSettings) -> int:
    """How many sequences the engine works on at once: static engines cut requests into batches."""
    if comparison.scenario == "throughput" and settings.engine != "vllm":
        return min(comparison.load, max(settings.batch_sizes))
    if comparison.scenario == "speculative" or (
        comparison.scenario == "online" and settings.engine == "onnx"
    ):
        return 1
    return comparison.load


def _seconds(value: float, comparison: Comparison, batch: int, settings: BenchSettings) -> float:
    """The metric as a time: for tokens per second, that of one whole batch."""
    if comparison.metric.endswith("_per_second"):
        return batch * settings.output_tokens / value
    return value


def _loaded(results: Results) -> dict[str, Loaded]:
    """What the engine said of each model when memory was measured."""
    return {
        each.model: Loaded(
            weight_bytes=each.weight_bytes_loaded,
            kv_bytes_per_token=each.kv_bytes_per_token,
            base_bytes=each.base_bytes,
        )
        for each in results.measurements
        if each.scenario == "memory" and each.status == "ok"
    }
