"""PURE. Which model to ship: one row per narrow model, and the sentence that follows from the rows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ..record.making import Making
from ..record.results import BenchModel, Comparison, Estimate, Results
from .pareto import pareto_front
from .summary import headline_comparison, memory_change, speed_words
from .wording import load_text

__all__ = ["DecisionRow", "Standing", "decision_rows", "recommendation"]

Standing = Literal["recommended", "alternative", "beaten", "not faster", "not judged"]
LOOK_AGAIN = 1.05  # ratio of perplexities from which the sentence asks to look at tasks and answers


@dataclass(frozen=True, kw_only=True)
class DecisionRow:
    """One narrow model against the original."""

    model: str
    speed: Comparison | None  # what stands for decoding speed
    memory: tuple[str, float]  # what was compared, and the narrow model's share of the original's bytes
    perplexity_ratio: Estimate | None
    task_change: Estimate | None  # mean over tasks, in points of the score; None without tasks
    making: Making | None
    standing: Standing = "not judged"

    @property
    def faster(self) -> bool:
        """Whether it was shown to be."""
        return self.speed is not None and self.speed.verdict == "faster"

    @property
    def gain(self) -> float:
        """Decoding speed-up."""
        return self.speed.speedup if self.speed is not None else 1.0

    @property
    def loss(self) -> float:
        """Ratio of perplexities."""
        return self.perplexity_ratio.value if self.perplexity_ratio is not None else math.inf


def decision_rows(results: Results) -> list[DecisionRow]:
    """A row for every narrow model, each with where it stands among the others.

    Recommended is, of the models shown to be faster that no other beats in speed and perplexity at once, the
    one that loses least for its gain: log(ratio of perplexities) / log(speed-up). Without a perplexity, or
    without a speed, nothing is judged.
    """
    original, *narrow = results.models
    return _judged([_row(results, original, model) for model in narrow])


def _row(results: Results, original: BenchModel, model: BenchModel) -> DecisionRow:
    records = {record.model: record for record in results.quality.models} if results.quality else {}
    found = records.get(model.name)
    what, before, after = memory_change(results, model)
    return DecisionRow(
        model=model.name,
        speed=headline_comparison(results, model.name),
        memory=(what, after / before),
        perplexity_ratio=found.perplexity_ratio if found else None,
        task_change=_task_change(results, original.name, model.name),
        making=model.making,
    )


def _task_change(results: Results, original: str, model: str) -> Estimate | None:
    """Mean difference of the scores that both have, one per task; errors added as if independent."""
    scores = results.quality.tasks if results.quality else []
    tasks = list(dict.fromkeys(score.task for score in scores))
    first = {(score.task, score.model): score for score in reversed(scores)}  # a task's first metric
    pairs = [(first.get((task, original)), first.get((task, model))) for task in tasks]
    both = [(a, b) for a, b in pairs if a is not None and b is not None and a.metric == b.metric]
    if not both:
        return None
    errors = [score.standard_error for pair in both for score in pair]
    known = [error for error in errors if error is not None]
    total = math.sqrt(sum(error**2 for error in known)) / len(both) if len(known) == len(errors) else None
    return Estimate(value=sum(b.value - a.value for a, b in both) / len(both), standard_error=total)


def _judged(rows: list[DecisionRow]) -> list[DecisionRow]:
    judged = [row for row in rows if row.speed is not None and row.perplexity_ratio is not None]
    faster = [row for row in judged if row.faster]
    front = pareto_front([(row.gain, row.loss) for row in faster], ("higher", "lower"))
    names = [faster[place].model for place in front]
    best = min((faster[place] for place in front), key=_loss_for_gain, default=None)

    def standing(row: DecisionRow) -> Standing:
        if row not in judged:
            return "not judged"
        if not row.faster:
            return "not faster"
        if best is not None and row.model == best.model:
            return "recommended"
        return "alternative" if row.model in names else "beaten"

    return [replace(row, standing=standing(row)) for row in rows]


def _loss_for_gain(row: DecisionRow) -> tuple[float, float]:
    return max(0.0, math.log(row.loss)) / math.log(row.gain), -row.gain


def recommendation(rows: Sequence[DecisionRow], original: str) -> list[str]:
    """What follows from the rows: one sentence that decides, then what to know; empty without rows."""
    if not rows:
        return []
    best = next((row for row in rows if row.standing == "recommended"), None)
    if best is not None:
        return [f"Ship {best.model}: {_facts(best)}.", *_others(rows, best), *_first(best)]
    if all(row.standing == "not judged" for row in rows):
        missing = "speed" if all(row.speed is None for row in rows) else "quality"
        return [f"No recommendation: {missing} was not measured."]
    small = [row for row in rows if row.standing == "not faster" and row.memory[1] < LOOK_AGAIN**-1]
    keep = [f"Keep {original}: no narrow model was shown to be faster."]
    if not small:
        return keep
    least = min(small, key=lambda row: row.loss)
    return [*keep, f"Where memory decides, {least.model} takes {_memory(least)} at {_quality(least)}."]


def _facts(row: DecisionRow) -> str:
    return f"{_speed(row)}, {_memory(row)}, {_quality(row)}"


def _speed(row: DecisionRow) -> str:
    speed = row.speed
    assert speed is not None  # of the recommended row
    where = "" if speed.scenario == "throughput" else f" at {load_text(speed.scenario, speed.load)}"
    return f"{speed.speedup:.2f}x {speed_words(speed)}{where}"


def _memory(row: DecisionRow) -> str:
    what, share = row.memory
    return f"{abs(1 - share) * 100:.0f} % {'less' if share <= 1 else 'more'} {what}"


def _quality(row: DecisionRow) -> str:
    text = f"a perplexity of {row.loss:.2f} times the original's"
    return (
        text if row.task_change is None else f"{text}, {_signed(row.task_change.value * 100)} points in tasks"
    )


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", "−")


def _others(rows: Sequence[DecisionRow], best: DecisionRow) -> list[str]:
    found = []
    for row in rows:
        if row.standing == "alternative":
            kind = "faster still" if row.gain > best.gain else "slower"
            more = "more" if row.loss > best.loss else "less"
            found.append(f"{row.model} is {kind} ({row.gain:.2f}x) and loses {more} ({row.loss:.2f} times).")
    return found


def _first(best: DecisionRow) -> list[str]:
    """What to do before it is shipped."""
    found = []
    if best.loss > LOOK_AGAIN:
        found.append(
            f"The perplexity of {best.model} is {(best.loss - 1) * 100:.0f} % higher than the original's: "
            "look at tasks and sample answers first, or win some of it back with dotresize recover."
        )
    if best.making is not None and best.making.verified is False:
        found.append(f"The verification of {best.model} MISSED a check: see dotresize info.")
    elif best.making is not None and best.making.verified is None:
        found.append(f"No verification of {best.model} is recorded: run dotresize verify on it first.")
    return found
