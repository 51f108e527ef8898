"""PURE: where the missing speed-up went, from measured times and ceilings alone.

A measured time is split into what the roofline allows and what came on top, part by part:

    excess(matrices) = kernel time - roofline of attention, mlp and head, where kernels were timed
    excess(engine)   = measured - kernel times - roofline of the other parts

With c the ceiling of the speed-up, To and Tn the measured times of original and narrow, the narrow model
would have needed To / c. What is missing is split exactly, since c is the ratio of the rooflines:

    Tn - To / c = sum over components of ( excess_narrow - excess_original / c )
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..record.results import Ceiling
from .ceiling import passes_of, seconds_by_part

__all__ = ["explain"]

FAIR_FRACTION = 0.9
UNCHANGED = 1.02  # a part whose roofline shrank by less was not narrowed
ENGINE = "engine"
DISTURBED = 0.1  # matrices alone may seem slower than the whole by this share of it, by chance


@dataclass(frozen=True, kw_only=True)
class _Split:
    """One model's measured time and what it consists of, in seconds."""

    measured: float
    roofline: dict[str, float]  # part -> seconds
    expected: dict[str, float]  # the same, with kernel times where they exist
    has_kernels: bool

    @property
    def excess(self) -> dict[str, float]:
        """Component -> seconds above the roofline; they sum to measured - roofline."""
        parts = {part: self.expected[part] - least for part, least in self.roofline.items()}
        return parts | {ENGINE: self.measured - sum(self.expected.values())}


def explain(
    found: Iterable[Ceiling],
    *,
    original: str,
    narrow: str,
    metric: str,
    batch_size: int,
    output_tokens: int,
    original_seconds: float,
    narrow_seconds: float,
) -> str:
    """One sentence when less than 0.9 of the possible speed-up was measured, else an empty string.

    Args:
        found: From `ceiling.ceilings`.
        original: Name of the original model.
        narrow: Name of the narrow model.
        metric: See `ceiling.predicted_seconds`.
        batch_size: Sequences in the engine together.
        output_tokens: Of each sequence.
        original_seconds: Measured; for tokens per second, the time for all the tokens of the batch.
        narrow_seconds: Measured in the same way.
    """
    listed, spans = list(found), passes_of(metric, output_tokens)
    before = _split(listed, original, batch_size, spans, original_seconds)
    after = _split(listed, narrow, batch_size, spans, narrow_seconds)
    if before is None or after is None:
        return ""
    least = sum(after.roofline.values())
    possible = sum(before.roofline.values()) / least
    if original_seconds / narrow_seconds >= FAIR_FRACTION * possible:
        return ""
    if min(before.excess[ENGINE], after.excess[ENGINE]) < -DISTURBED * narrow_seconds:
        return (
            f"Less than {FAIR_FRACTION:.0%} of the ceiling of {possible:.2f}x was reached, and the cause is "
            "not known: the matrices timed alone took longer than the whole, so the machine was disturbed."
        )
    total = narrow_seconds - original_seconds / possible
    missing = {part: value - before.excess.get(part, 0.0) / possible for part, value in after.excess.items()}
    worst = max(missing, key=lambda part: missing[part])
    start = (
        f"{_milliseconds(total)} of the {_milliseconds(narrow_seconds)} would have to go to reach the "
        f"ceiling of {possible:.2f}x, {_milliseconds(missing[worst])} of them "
    )
    return start + (_engine(before, after) if worst == ENGINE else _part(worst, before, after)) + "."


def _split(
    found: Sequence[Ceiling], model: str, batch_size: int, spans: tuple[int, int], measured: float
) -> _Split | None:
    """Sum the passes that a metric spans; None where a ceiling is missing."""
    passes = {c.phase: c for c in found if c.model == model and c.batch_size == batch_size}
    if len(passes) < 2:
        return None
    counted = [(spans[0], passes["prefill"]), (spans[1], passes["decode"])]

    def add(*, kernels: bool) -> dict[str, float]:
        parts: dict[str, float] = {}
        for times, ceiling in counted:
            for part, seconds in seconds_by_part(ceiling, kernels=kernels).items():
                parts[part] = parts.get(part, 0.0) + times * seconds
        return parts

    has_kernels = all(ceiling.kernel_seconds_by_part is not None for _, ceiling in counted)
    roofline, expected = add(kernels=False), add(kernels=has_kernels)
    return _Split(measured=measured, roofline=roofline, expected=expected, has_kernels=has_kernels)


def _engine(before: _Split, after: _Split) -> str:
    spent, earlier = after.excess[ENGINE], before.excess[ENGINE]
    share = spent / after.measured
    text = f"{_milliseconds(spent)} ({share:.0%} of the time; {_milliseconds(earlier)} with the original)"
    if after.has_kernels:
        return f"in the engine: it adds {text} to the matrices timed alone, which narrowing does not shrink"
    return f"above the roofline: {text}, kernels and engine together, because no kernels were timed"


def _part(part: str, before: _Split, after: _Split) -> str:
    spent, least = after.expected[part], after.roofline[part]
    narrowed = "" if before.roofline[part] > UNCHANGED * least else ", which was not narrowed"
    return (
        f"in the {part}{narrowed}: its matrices alone take {_milliseconds(spent)} "
        f"({spent / after.measured:.0%} of the time; {_milliseconds(before.expected[part])} with the "
        f"original), bytes and FLOPs would allow {_milliseconds(least)}"
    )


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:,.0f} ms" if seconds >= 0.1 else f"{seconds * 1e3:.3g} ms"
