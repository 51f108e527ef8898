"""PURE. The headline: one sentence per narrow model, saying what was gained and what was lost."""

from ..record.results import BenchModel, Comparison, MemoryRecord, Results
from .speculative_words import speculative_sentences
from .wording import load_text, metric, width_change

__all__ = ["headline_comparison", "memory_change", "speed_words", "summarise"]

# What stands for decoding speed, best first: a scenario may have been left out.
_DECODING = (
    ("latency", "tpot_seconds"),
    ("latency", "decode_tokens_per_second"),
    ("online", "tpot_seconds"),
    ("throughput", "output_tokens_per_second"),
    ("latency", "output_tokens_per_second"),
    ("online", "output_tokens_per_second"),
    ("latency", "e2e_seconds"),
    ("online", "e2e_seconds"),
)
_WORDS = {
    ("throughput", "output_tokens_per_second"): "offline throughput",
    ("online", "output_tokens_per_second"): "online throughput",
    "tpot_seconds": "decode throughput",
    "ttft_seconds": "speed to the first token",
    "e2e_seconds": "end-to-end speed",
}
_NOTICEABLE = 1.1  # an interval of ±5 %
_SAME = 0.005  # sizes within half a per cent are called the same


def summarise(results: Results) -> list[str]:
    """One sentence per narrow model, in the order of the run; scenarios left out are named as such."""
    original, *narrow = results.models
    drafts = speculative_sentences(results)
    if results.settings.scenarios == ("speculative",):
        return drafts
    return drafts + [
        f"{model.name}, {width_change(original, model)}: {_clauses(results, model)}." for model in narrow
    ]


def headline_comparison(results: Results, model: str) -> Comparison | None:
    """The comparison that stands for decoding speed: at the smallest load that was measured."""
    for scenario, key in _DECODING:
        found = [
            comparison
            for comparison in results.comparisons
            if (comparison.model, comparison.scenario, comparison.metric) == (model, scenario, key)
        ]
        if found:
            return min(found, key=lambda comparison: comparison.load)
    return None


def _clauses(results: Results, model: BenchModel) -> str:
    headline = headline_comparison(results, model.name)
    clauses = [_speed(headline) if headline else _no_speed(results, model.name)]
    throughput = _find(results, model.name, "throughput", "output_tokens_per_second")
    if throughput is not None and throughput is not headline:
        clauses.append(_speed(throughput))
    return ", ".join([*clauses, _memory(results, model), _quality(results, model.name)])


def _find(results: Results, model: str, scenario: str, key: str) -> Comparison | None:
    for comparison in results.comparisons:
        if (comparison.model, comparison.scenario, comparison.metric) == (model, scenario, key):
            return comparison
    return None


def speed_words(comparison: Comparison) -> str:
    """What a larger speed-up of this metric means, e.g. "decode throughput"."""
    by_scenario = _WORDS.get((comparison.scenario, comparison.metric))
    return by_scenario or _WORDS.get(comparison.metric) or metric(comparison.metric).name


def _speed(comparison: Comparison) -> str:
    what = speed_words(comparison)
    if comparison.scenario != "throughput":
        what += f" at {load_text(comparison.scenario, comparison.load)}"
    interval = ""
    if comparison.low is not None and comparison.high is not None:
        interval = f" (95 % interval {comparison.low:.2f} to {comparison.high:.2f})"
    if comparison.verdict == "no difference":
        shown = " could be shown" if _wide(comparison) else ""
        return f"no difference{shown} in {what}{interval}"
    text = f"{comparison.speedup:.2f}x {what}"
    if comparison.verdict == "too few rounds":
        rounds = len(comparison.pairs)
        count = "a single round" if rounds == 1 else f"only {rounds} rounds"
        return f"{text} from {count}, so not certain{interval}"
    return text + (", which is slower" if comparison.verdict == "slower" else "") + interval


def _wide(comparison: Comparison) -> bool:
    """Whether a difference that a user would notice fits into the interval: then none was ruled out."""
    low, high = comparison.low, comparison.high
    return low is not None and high is not None and high / low > _NOTICEABLE


def _no_speed(results: Results, model: str) -> str:
    points = [measurement for measurement in results.measurements if measurement.model == model]
    lost = sum(point.status != "ok" for point in points)
    if lost:
        return f"no speed-up could be computed ({lost} of {len(points)} points failed or ran out of memory)"
    return "speed was not measured"


def memory_change(results: Results, model: BenchModel) -> tuple[str, int, int]:
    """What stands for memory, and its bytes before and after: in memory where that is known, else on disk."""
    records = {record.model: record for record in results.memory}
    original = results.models[0]
    first, second = records.get(original.name), records.get(model.name)
    if first is not None and second is not None:
        return _weight_memory(first, second)
    return "on disk", original.weight_bytes, model.weight_bytes


def _memory(results: Results, model: BenchModel) -> str:
    what, before, after = memory_change(results, model)
    saved = 1 - after / before
    if abs(saved) < _SAME:
        return "as much on disk" if what == "on disk" else f"the same {what}"
    amount = f"{abs(saved):.0%}".replace("%", " %")
    return f"{amount} {'less' if saved > 0 else 'more'} {what}"


def _weight_memory(first: MemoryRecord, second: MemoryRecord) -> tuple[str, int, int]:
    if first.weight_bytes_loaded is not None and second.weight_bytes_loaded is not None:
        return "weight memory", first.weight_bytes_loaded, second.weight_bytes_loaded
    return "weight memory (predicted)", first.weight_bytes_predicted, second.weight_bytes_predicted


def _quality(results: Results, model: str) -> str:
    models = {record.model: record for record in results.quality.models} if results.quality else {}
    first, second = models.get(results.models[0].name), models.get(model)
    if first is None or second is None:
        return "quality was not measured"
    return f"perplexity {second.perplexity.value:.1f} against {first.perplexity.value:.1f}"
