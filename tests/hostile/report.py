"""Outcomes as a table by kind, and every failure with what reproduces it."""

from collections import Counter
from collections.abc import Sequence

from .judge import FAILURES, LEGITIMATE, OURS
from .runner import Outcome

__all__ = ["render"]

VERDICTS = (OURS, LEGITIMATE, *FAILURES)


def render(outcomes: Sequence[Outcome], *, traces: bool = False) -> str:
    """Markdown."""
    kinds = sorted({outcome.case.partition(":")[0] for outcome in outcomes})
    counts = Counter((outcome.case.partition(":")[0], outcome.verdict) for outcome in outcomes)
    lines = ["| kind | cases | " + " | ".join(VERDICTS) + " |", "|---" * (len(VERDICTS) + 2) + "|"]
    for kind in kinds:
        row = [counts[kind, verdict] for verdict in VERDICTS]
        lines.append(f"| {kind} | {sum(row)} | " + " | ".join(map(str, row)) + " |")
    total = [sum(counts[kind, verdict] for kind in kinds) for verdict in VERDICTS]
    lines.append(f"| all | {sum(total)} | " + " | ".join(map(str, total)) + " |")
    failures = [outcome for outcome in outcomes if outcome.verdict in FAILURES]
    for outcome in sorted(failures, key=lambda each: (each.verdict, each.reason, each.case)):
        lines += ["", *_describe(outcome, traces=traces)]
    return "\n".join(lines) + "\n"


def _describe(outcome: Outcome, *, traces: bool) -> list[str]:
    command = " ".join(word if len(word) < 60 else word[:57] + "..." for word in outcome.command)
    lines = [
        f"* {outcome.verdict}: {outcome.reason}",
        f"  damage: {outcome.damage}",
        f"  command: dotresize {command}",
        f"  again: python -m tests.hostile --only {outcome.case}",
    ]
    if traces and outcome.trace:
        lines += ["", *(f"      {line}" for line in outcome.trace.splitlines()[-14:])]
    return [line.encode("utf-8", "replace").decode() for line in lines]
