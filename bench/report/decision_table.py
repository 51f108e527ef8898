"""The first thing on the page: which model to ship."""

from collections.abc import Sequence

from ..judge.decision import DecisionRow, Standing
from ..judge.wording import MISSING, estimate_text
from ..record.making import Making
from ..record.results import Comparison, Results
from .content import Quotes, Table

__all__ = ["decision_table", "quotes"]

_NOTES: dict[Standing, str] = {
    "recommended": "Recommended: of the models shown to be faster that no other here beats in speed and "
    "perplexity at once, the one that loses least for its gain, log(perplexity ratio) / log(speed-up).",
    "alternative": "Alternative: faster or better than the recommended one, at more loss for its gain.",
    "beaten": "Beaten: another model here is at least as fast and as good, and better in one of them.",
    "not faster": "Not faster: no speed-up could be shown.",
    "not judged": "Not judged: its speed or its perplexity was not measured.",
}


def decision_table(rows: Sequence[DecisionRow]) -> Table | None:
    """One row per narrow model; None without any."""
    if not rows:
        return None
    standings = list(dict.fromkeys(row.standing for row in rows))
    return Table(
        caption="Which model to ship, each against the original",
        columns=[
            "model",
            ">decode speed-up",
            ">memory",
            ">perplexity ratio",
            ">tasks, points",
            "verified by",
            "made with",
            "verdict",
        ],
        rows=[_row(row) for row in rows],
        notes=[_NOTES[standing] for standing in _NOTES if standing in standings],
    )


def _row(row: DecisionRow) -> list[str]:
    what, share = row.memory
    change = row.task_change
    error = "" if change is None or change.standard_error is None else f" ± {change.standard_error * 100:.1f}"
    return [
        row.model,
        _speed(row.speed),
        f"{(share - 1) * 100:+.0f} % {what}".replace("-", "\u2212"),
        estimate_text(row.perplexity_ratio, 3),
        MISSING if change is None else f"{change.value * 100:+.1f}{error}".replace("-", "\u2212"),
        _verified(row.making),
        _made(row.making),
        row.standing,
    ]


def _speed(speed: Comparison | None) -> str:
    if speed is None:
        return MISSING
    interval = "" if speed.low is None or speed.high is None else f" ({speed.low:.2f} to {speed.high:.2f})"
    return f"{speed.speedup:.2f}x{interval}"


def _verified(making: Making | None) -> str:
    return making.verification if making is not None else "not recorded"


def _made(making: Making | None) -> str:
    """What making it took: tokens of calibration, and what training followed."""
    if making is None:
        return "not recorded"
    text = f"{making.calibration_tokens:,} tokens, effort {making.options.get('effort', 'standard')}"
    if making.recovery_seconds is None:
        return text
    return f"{text}, {making.recovery_seconds / 60:.0f} minutes of recovery"


def quotes(results: Results) -> list[Quotes]:
    """Sample answers, those to one prompt together."""
    answers = results.quality.answers if results.quality else []
    prompts = dict.fromkeys(answer.prompt for answer in answers)
    return [
        Quotes(
            prompt=prompt,
            answers=[
                (each.model, each.text + ("" if each.complete else " …"))
                for each in answers
                if each.prompt == prompt
            ],
        )
        for prompt in prompts
    ]
