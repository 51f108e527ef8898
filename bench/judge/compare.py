"""PURE. What changed between two runs of the same benchmark, and is the change larger than its spread?

Every run gives one value per round (the median of its samples). With x = ln value, means m and standard
deviations d over n rounds of the old and of the new run,

    95 % interval of new/old = exp(m_new - m_old ± t sqrt(d_old² / n_old + d_new² / n_new))

with Student's t and Welch's degrees of freedom: the runs are independent, and one may be noisier. Rounds
are not paired here, since they happened on different days. Perplexity has its standard error instead:
that of the ratio to the original (paired by window) where both runs used the same text.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean, median, variance
from typing import Literal

from scipy.stats import norm
from scipy.stats import t as student_t

from ...errors import InputError, OptionError
from ..record.results import Estimate, ModelQuality, Results
from .wording import higher_is_better

__all__ = ["Change", "compare", "differences", "exceeds", "parse_fail_above"]

LEVEL = 0.975  # both tails of a 95 % interval
Point = tuple[str, str, int, str]  # model, scenario, load, metric


@dataclass(frozen=True, kw_only=True)
class Change:
    """One metric of one model in both runs.

    `worsening` is relative and larger than 0 when the new run is worse: 0.05 means 5 % slower, 5 % less
    throughput, or 5 % more perplexity or memory. `low` and `high` are its 95 % interval, None where a run
    has a single round and the spread is unknown.
    """

    model: str
    scenario: Literal["latency", "throughput", "online", "rate", "memory", "quality", "speculative"]
    load: int | None  # None for quality
    metric: str
    old: float
    new: float
    worsening: float
    low: float | None
    high: float | None

    @property
    def beyond_spread(self) -> bool | None:
        """Whether the interval leaves out "no change"; None when the spread is unknown."""
        return None if self.low is None or self.high is None else not self.low <= 0 <= self.high


def parse_fail_above(text: str) -> float:
    """Read "5%" or "0.05" as the fraction 0.05.

    Raises:
        OptionError: Not a number from 0 to 100 %.
    """
    number = text.strip()
    try:
        value = float(number.removesuffix("%").strip()) / (100 if number.endswith("%") else 1)
    except ValueError:
        value = math.nan
    if not 0 <= value < 1:
        raise OptionError(f"--fail-above is {text!r}, expected a share below 100 % such as 5% or 0.05")
    return value


def compare(old: Results, new: Results) -> list[Change]:
    """The change of every model x scenario x load x metric that both runs hold, models matched by name."""
    before, after = _rounds(old), _rounds(new)
    changes = [_speed_change(point, before[point], after[point]) for point in before if point in after]
    return [*changes, *_quality_changes(old, new)]


def exceeds(changes: list[Change], fail_above: float) -> list[Change]:
    """The changes for the worse that are larger than `fail_above` and larger than their spread.

    Each metric is judged alone. Of those that did not change, one in forty looks worse beyond its spread by
    chance; `fail_above` has to be larger than what the machine's noise does to a median.

    Args:
        changes: from `compare`.
        fail_above: a fraction, 0.05 for 5 %.
    """
    return [change for change in changes if change.worsening > fail_above and change.beyond_spread]


def _rounds(results: Results) -> dict[Point, list[float]]:
    """One value per round: the median of its samples, and the peak memory."""
    found: dict[Point, list[float]] = {}
    for measurement in results.measurements:
        if measurement.status != "ok":
            continue
        values = {name: median(samples) for name, samples in measurement.samples.items() if samples}
        for name in ("peak_memory_bytes", "peak_gpu_memory_bytes", "weight_bytes_loaded"):
            values[name] = getattr(measurement, name) or 0.0
        for name, value in values.items():
            if value > 0:
                point = (measurement.model, measurement.scenario, measurement.load, name)
                found.setdefault(point, []).append(value)
    return found


def _speed_change(point: Point, old: list[float], new: list[float]) -> Change:
    model, scenario, load, name = point
    sign = -1.0 if higher_is_better(name) else 1.0  # of the logarithm that grows when it gets worse
    low = high = None
    if min(len(old), len(new)) > 1:
        low, high = _interval(old, new, sign)
    return Change(
        model=model,
        scenario=scenario,  # type: ignore[arg-type]
        load=load,
        metric=name,
        old=median(old),
        new=median(new),
        worsening=_worsening(sign * math.log(median(new) / median(old)), sign),
        low=None if low is None else _worsening(low, sign),
        high=None if high is None else _worsening(high, sign),
    )


def _worsening(log: float, sign: float) -> float:
    """A log ratio that grows when it gets worse -> relative change: 5 % more time, 5 % less throughput."""
    return math.expm1(log) if sign > 0 else -math.expm1(-log)


def _interval(old: list[float], new: list[float], sign: float) -> tuple[float, float]:
    first, second = ([sign * math.log(value) for value in values] for values in (old, new))
    parts = [variance(first) / len(first), variance(second) / len(second)]
    difference, squared_error = fmean(second) - fmean(first), sum(parts)
    if squared_error == 0:
        return difference, difference
    welch = squared_error**2 / (parts[0] ** 2 / (len(first) - 1) + parts[1] ** 2 / (len(second) - 1))
    half = float(student_t.ppf(LEVEL, welch)) * math.sqrt(squared_error)
    return difference - half, difference + half


def _quality_changes(old: Results, new: Results) -> Iterator[Change]:
    if old.quality is None or new.quality is None:
        return
    same_text = _text_of(old) == _text_of(new)
    before = {record.model: record for record in old.quality.models}
    for record in new.quality.models:
        if record.model in before:
            yield _quality_change(before[record.model], record, same_text=same_text)


def _text_of(results: Results) -> tuple[str, int, int] | None:
    quality = results.quality
    return None if quality is None else (quality.text_sha256, quality.windows, quality.window_tokens)


def _quality_change(old: ModelQuality, new: ModelQuality, *, same_text: bool) -> Change:
    first, second = old.perplexity, new.perplexity
    if same_text and old.perplexity_ratio is not None and new.perplexity_ratio is not None:
        first, second = old.perplexity_ratio, new.perplexity_ratio
    if min(first.value, second.value) <= 0:
        raise InputError(
            f"the results hold a perplexity of {min(first.value, second.value):g}; it must be above 0"
        )
    log = math.log(second.value / first.value)
    error = _log_error(first, second)
    half = None if error is None else float(norm.ppf(LEVEL)) * error
    return Change(
        model=new.model,
        scenario="quality",
        load=None,
        metric="perplexity",
        old=old.perplexity.value,
        new=new.perplexity.value,
        worsening=math.expm1(log),
        low=None if half is None else math.expm1(log - half),
        high=None if half is None else math.expm1(log + half),
    )


def _log_error(first: Estimate, second: Estimate) -> float | None:
    if first.standard_error is None or second.standard_error is None:
        return None
    return math.hypot(first.standard_error / first.value, second.standard_error / second.value)


def differences(old: Results, new: Results) -> list[str]:
    """What makes the two runs hard to compare, one sentence each: say these before any number."""
    found = [
        f"{name} differs: {before!r} in the old run, {after!r} in the new one"
        for name, before, after in _facts(old, new)
        if before != after
    ]
    names = [{model.name for model in results.models} for results in (old, new)]
    for label, missing in (("new", names[0] - names[1]), ("old", names[1] - names[0])):
        if missing:
            found.append(f"not in the {label} run and so not compared: {', '.join(sorted(missing))}")
    before, after = _rounds(old), _rounds(new)
    both = names[0] & names[1]
    lost = {point[:3] for point in before if point not in after and point[0] in both}
    found += [f"{model} has {kind} {load} in the old run only" for model, kind, load in sorted(lost)]
    if any(min(len(before[point]), len(after[point])) < 2 for point in before if point in after):
        found.append("a run with a single round has no spread, so its changes can never fail the comparison")
    return found + [
        f"the {label} run is not complete" for label, run in _labelled(old, new) if not run.complete
    ]


def _labelled(old: Results, new: Results) -> list[tuple[str, Results]]:
    return [("old", old), ("new", new)]


def _facts(old: Results, new: Results) -> Iterator[tuple[str, object, object]]:
    for name in ("processor", "cores", "memory_bytes", "gpu", "gpu_driver", "system"):
        yield f"machine: {name}", getattr(old.environment, name), getattr(new.environment, name)
    for name in sorted(old.environment.versions.keys() | new.environment.versions.keys()):
        before, after = (run.environment.versions.get(name) for run in (old, new))
        yield f"version of {name}", before, after
    for name in sorted(old.environment.engine_settings.keys() | new.environment.engine_settings.keys()):
        before, after = (run.environment.engine_settings.get(name) for run in (old, new))
        yield f"environment variable {name}", before, after
    for name in vars(old.settings):
        yield f"setting {name}", getattr(old.settings, name), getattr(new.settings, name)
    matched = {model.name: model for model in new.models}
    for model in old.models:
        other = matched.get(model.name)
        if other is not None:
            yield f"precision of {model.name}", model.precision, other.precision
            yield f"tokenizer of {model.name}", model.tokenizer_sha256[:12], other.tokenizer_sha256[:12]
    if old.quality is not None and new.quality is not None:
        yield "evaluation text", _text_of(old), _text_of(new)
