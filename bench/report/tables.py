"""The measured numbers as tables: speed, percentiles, memory, ceilings, quality."""

from ..judge.wording import (
    LOADS,
    METRICS,
    MISSING,
    bytes_text,
    estimate_text,
    higher_is_better,
    load_text,
    metric,
    metric_value,
    seconds_text,
)
from ..record.results import Comparison, MemoryRecord, Results
from ..record.samples import lost_points, pooled, quantile
from ..roofline.ceiling import seconds_by_part
from .content import Table
from .facts import SAME

__all__ = [
    "ceiling_table",
    "memory_table",
    "percentile_table",
    "quality_table",
    "scenario_table",
    "task_table",
]

ABOVE = 1.02  # of the ceiling: explained from here on
LEAST_SAMPLES = {0.5: 1, 0.9: 10, 0.99: 100}  # fewer cannot show that percentile


def scenario_table(results: Results, scenario: str) -> Table | None:
    """Original against narrow at every load; None when the scenario has no comparison."""
    chosen = [c for c in results.comparisons if c.scenario == scenario]
    if not chosen:
        return _medians(results, scenario)
    with_ceiling = any(c.ceiling is not None for c in chosen)
    columns = ["model", "metric", f">{LOADS[scenario]}", ">original", ">narrow", ">speed-up"]
    columns += [">95 % interval", *([">ceiling", ">of ceiling"] if with_ceiling else []), "verdict"]
    order = [model.name for model in results.models]
    chosen.sort(key=lambda c: (_place(c.metric), c.load, order.index(c.model)))
    rows = [_comparison_row(c, with_ceiling) for c in chosen]
    for model, load in lost_points(results, scenario):
        unknown = [MISSING] * (len(columns) - 4)
        rows.append([model, "all", f"{load:,}", *unknown, _reason(results, scenario, model, load)])
    caption = "Medians over rounds. Speed-up: larger than 1 is better than the original."
    notes = _held_back(chosen) + _above_ceiling(chosen)
    if any(c.verdict == "no difference" for c in chosen):
        notes.append(SAME)
    return Table(caption=caption, columns=columns, rows=rows, notes=notes)


def _reason(results: Results, scenario: str, model: str, load: int) -> str:
    point = (scenario, model, load)
    return next(m.status for m in results.measurements if (m.scenario, m.model, m.load) == point)


def _held_back(chosen: list[Comparison]) -> list[str]:
    """Why the ceiling is not reached, points with the same reason together."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for c in chosen:
        if c.held_back_by:
            where = f"{metric(c.metric).label} at {load_text(c.scenario, c.load)}"
            place = f"{where} ({_percent(c.fraction_of_ceiling)} of the ceiling)"
            reasons.setdefault((c.model, c.held_back_by.rstrip(".")), []).append(place)
    return [f"{model}, {'; '.join(places)}: {reason}." for (model, reason), places in reasons.items()]


def _above_ceiling(chosen: list[Comparison]) -> list[str]:
    """Why more than all of the ceiling may be reached, with what is known of the ceiling's own error."""
    above = [c for c in chosen if c.ceiling and c.fraction_of_ceiling and c.fraction_of_ceiling > ABOVE]
    if not above:
        return []
    highest = max(above, key=lambda c: c.fraction_of_ceiling or 0)
    assert highest.ceiling is not None  # chosen so
    share = _percent(highest.fraction_of_ceiling)
    if highest.low is not None and highest.high is not None:
        ends = [_percent(end / highest.ceiling) for end in (highest.low, highest.high)]
        share += f", by the interval of its speed-up {ends[0]} to {ends[1]}"
    where = f"{highest.model}, {metric(highest.metric).label} at {load_text(highest.scenario, highest.load)}"
    notes = [
        f"More than 100 % of the ceiling ({where}: {share}) is no error: the ceiling is not measured on "
        "these models, but follows from their bytes and FLOPs and two rates of the machine. It leaves out "
        "what else gets shorter (norms, activations, launches, what fits a cache only when narrow), and the "
        "rates have an error of their own."
    ]
    if highest.kernel_ceiling is not None:
        gap = abs(highest.kernel_ceiling / highest.ceiling - 1) * 100
        notes[0] += (
            f" The same matrices timed alone allow {highest.kernel_ceiling:.2f}x instead of "
            f"{highest.ceiling:.2f}x there, so the ceiling is known to {gap:.0f} % at best."
        )
    return notes


def _place(name: str) -> int:
    """In which order metrics are listed."""
    return list(METRICS).index(name) if name in METRICS else len(METRICS)


def _comparison_row(c: Comparison, with_ceiling: bool) -> list[str]:
    interval = MISSING if c.low is None or c.high is None else f"{c.low:.2f} to {c.high:.2f}"
    row = [c.model, metric(c.metric).label, f"{c.load:,}"]
    row += [metric_value(c.metric, value) for value in (c.original_median, c.narrow_median)]
    row += [f"{c.speedup:.2f}x", interval]
    if with_ceiling:
        row += [MISSING if c.ceiling is None else f"{c.ceiling:.2f}x", _percent(c.fraction_of_ceiling)]
    return [*row, c.verdict]


def _percent(fraction: float | None) -> str:
    return MISSING if fraction is None else f"{fraction * 100:.0f} %"


def _medians(results: Results, scenario: str) -> Table | None:
    """Without a pair to compare, at least what was measured."""
    found = {point: values for point, values in pooled(results).items() if point[1] == scenario}
    if not found:
        return None
    rows = [
        [model, metric(name).label, f"{load:,}", metric_value(name, quantile(values, 0.5)), str(len(values))]
        for (model, _, load, name), values in found.items()
    ]
    return Table(
        caption="Medians of all samples; no round has both models, so there is no speed-up.",
        columns=["model", "metric", f">{LOADS[scenario]}", ">median", ">samples"],
        rows=rows,
    )


def percentile_table(results: Results, scenario: str) -> Table | None:
    """p50, p90 and p99 of every latency; None without samples."""
    rows = []
    in_order = sorted(pooled(results).items(), key=lambda item: (_place(item[0][3]), item[0][2]))  # stable
    for (model, kind, load, name), values in in_order:
        if kind != scenario or higher_is_better(name):
            continue
        shown = [
            seconds_text(quantile(values, share)) if len(values) >= least else MISSING
            for share, least in LEAST_SAMPLES.items()
        ]
        rows.append([model, metric(name).label, f"{load:,}", *shown, f"{len(values):,}"])
    if not rows:
        return None
    return Table(
        caption=f"Percentiles, {scenario}, all rounds together",
        columns=["model", "metric", f">{LOADS[scenario]}", ">p50", ">p90", ">p99", ">samples"],
        rows=rows,
        notes=["p90 needs at least 10 samples and p99 at least 100."]
        if any(MISSING in row for row in rows)
        else [],
    )


def memory_table(results: Results) -> Table | None:
    """Predicted beside measured, and what fits; None without records."""
    if not results.memory:
        return None
    first = results.memory[0]
    return Table(
        caption=f"Memory, {'of the GPU' if first.on_gpu else 'resident, of the whole process tree'}",
        columns=[
            "model",
            ">on disk",
            ">weights predicted",
            ">weights loaded",
            ">KV per token predicted",
            ">KV per token measured",
            ">peak predicted",
            ">peak measured",
            ">tokens of cache that fit",
        ],
        rows=[_memory_row(record, first) for record in results.memory],
        notes=[
            "Tokens that fit: in the memory that the original needs for its weights and "
            f"{first.reference_tokens:,} tokens of KV cache."
        ],
    )


def _memory_row(record: MemoryRecord, original: MemoryRecord) -> list[str]:
    fit = f"{record.tokens_that_fit:,}"
    if record is not original and original.tokens_that_fit:
        fit += f" ({record.tokens_that_fit / original.tokens_that_fit:.2f}x)"
    sizes = (
        record.weight_bytes_on_disk,
        record.weight_bytes_predicted,
        record.weight_bytes_loaded,
        record.kv_bytes_per_token_predicted,
        record.kv_bytes_per_token_measured,
        record.peak_bytes_predicted,
        record.peak_bytes_measured,
    )
    return [record.model, *(bytes_text(size) for size in sizes), fit]


def ceiling_table(results: Results) -> Table | None:
    """The ceiling's time by part; None without ceilings."""
    parts = list(dict.fromkeys(part for ceiling in results.ceilings for part in ceiling.seconds_by_part))
    if not parts:
        return None
    rows = []
    for c in results.ceilings:
        times = [
            f"{seconds_text(c.seconds_by_part[part])} ({c.bound_by_part.get(part, 'unknown')})"
            if part in c.seconds_by_part
            else MISSING
            for part in parts
        ]
        timed = sum(seconds_by_part(c, kernels=True).values()) if c.kernel_seconds_by_part else None
        kernels = seconds_text(timed)
        rows.append([c.model, c.phase, f"{c.batch_size:,}", seconds_text(c.seconds), kernels, *times])
    return Table(
        caption="Shortest possible time by part, and what bounds it: bytes to read or FLOPs to compute",
        columns=["model", "phase", ">batch size", ">all parts", ">matrices timed alone"]
        + [f">{part}" for part in parts],
        rows=rows,
    )


def quality_table(results: Results) -> Table | None:
    """Perplexity, its ratio to the original, and the KL divergence; None when it was not measured."""
    quality = results.quality
    if quality is None or not quality.models:
        return None
    rows = [
        [
            record.model,
            estimate_text(record.perplexity, 2),
            estimate_text(record.perplexity_ratio, 3),
            estimate_text(record.kl_nats_per_token, 4),
            f"{record.tokens:,}",
        ]
        for record in quality.models
    ]
    return Table(
        caption=f"Perplexity on {quality.text}, "
        f"{quality.windows} windows of {quality.window_tokens:,} tokens",
        columns=["model", ">perplexity", ">ratio to the original", ">KL, nats per token", ">tokens"],
        rows=rows,
        notes=["± one standard error over windows; ratio and KL are paired window by window."],
    )


def task_table(results: Results) -> Table | None:
    """Scores of lm-eval, a column per model; None without tasks."""
    if results.quality is None or not results.quality.tasks:
        return None
    tasks = results.quality.tasks
    models = [model.name for model in results.models if any(score.model == model.name for score in tasks)]
    rows = []
    for task, name in dict.fromkeys((score.task, score.metric) for score in tasks):
        scores = {score.model: score for score in tasks if (score.task, score.metric) == (task, name)}
        cells = []
        for model in models:
            score = scores.get(model)
            error = "" if score is None or score.standard_error is None else f" ± {score.standard_error:.3f}"
            cells.append(MISSING if score is None else f"{score.value:.3f}{error}")
        documents = max(score.documents for score in scores.values())
        rows.append([task, name, f"{documents:,}", *cells])
    return Table(
        caption="Tasks, scored by lm-eval",
        columns=["task", "metric", ">documents", *(f">{model}" for model in models)],
        rows=rows,
        notes=["± one standard error over documents, as lm-eval computes it."],
    )
