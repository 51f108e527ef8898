"""docs/TASKS.md from the results of `maker.run` alone: the same results, the same bytes."""

import math
import statistics
from collections.abc import Sequence
from typing import Any

from dotresize.bench.quality.offline.suite import METRICS

from ..shared.markdown import table

__all__ = ["render"]

_WORDS = {
    "offline_cloze": "the last word of a sentence that has been said before it; right if it is the likeliest",
    "offline_pairs": "a sentence against the same with one fault of grammar; chance 50 %",
    "offline_arithmetic": "sums, differences, products, rows of numbers; four answers, chance 25 %",
    "offline_code": "functions of one expression, executed on five arguments; chance 0 %",
}


def render(results: dict[str, Any]) -> str:
    """The page as Markdown; the first model is what the others are paired with."""
    setting, models = results["setting"], results["models"]
    tasks = [task for task in METRICS if any(task in each["tasks"] for each in models.values())]
    original = next(iter(models.values()))["tasks"]
    heads = ["model", *(task.removeprefix("offline_") for task in tasks), "mean"]
    scores = [[name, *_scores(each["tasks"], tasks)] for name, each in models.items()]
    changes = [
        [name, *_changes(each["tasks"], original, tasks)]
        for name, each in models.items()
        if each["tasks"] is not original
    ]
    sources = ", ".join(f"{s['name']} {s['version']} ({s['licence']})" for s in setting["suite"]["sources"])
    some = f" **A trial: {setting['limit']} questions of each.**" if setting["limit"] else ""
    lines = [
        "# Tasks without a network",
        "",
        "Percent right, by lm-eval, ± one standard error over questions; mean: of the tasks, each counted "
        f"alike. Weights in {setting['dtype']}, greedy, no examples but those in the questions.{some}",
        "",
        *table(heads, scores),
        "",
        *(
            [
                "Difference to the first model in points, question by question:",
                "",
                *table(heads, changes),
                "",
            ]
            if changes
            else []
        ),
        *(f"* {task.removeprefix('offline_')}: {_WORDS[task]}; {_counted(setting, task)}" for task in tasks),
        "",
        f"Questions from {sources}, of files that `--calibration builtin` never reads; sums and functions by "
        f"seed {setting['suite']['seed']}. Scores compare where these hashes are the same. Functions of one "
        "family resemble each other, so the standard error of code is rather larger than shown.",
        "",
        "Processor time, loading included: "
        + "; ".join(
            f"{name} {_minutes(each['tasks'])} ({each['processor']})" for name, each in models.items()
        )
        + ".",
    ]
    return "\n".join(lines) + "\n"


def _scores(answers: dict[str, Any], tasks: Sequence[str]) -> list[str]:
    return _cells(
        [_mean([int(mark) for mark in answers[t]["right"]]) if t in answers else None for t in tasks], ""
    )


def _changes(answers: dict[str, Any], original: dict[str, Any], tasks: Sequence[str]) -> list[str]:
    found = []
    for task in tasks:
        both = task in answers and task in original
        pairs = zip(answers[task]["right"], original[task]["right"], strict=True) if both else ()
        found.append(_mean([int(here) - int(there) for here, there in pairs]) if both else None)
    return _cells(found, "+")


def _cells(found: list[tuple[float, float] | None], sign: str) -> list[str]:
    """Every task, then the mean of all where none is missing."""
    known = [each for each in found if each is not None]
    mean = None
    if len(known) == len(found):
        mean = (
            statistics.fmean(value for value, _ in known),
            math.sqrt(sum(error**2 for _, error in known)) / len(known),
        )
    return [
        "" if each is None else f"{each[0] * 100:{sign}.1f} ± {each[1] * 100:.1f}" for each in (*found, mean)
    ]


def _mean(values: list[int]) -> tuple[float, float]:
    """Mean and its standard error, of at least two."""
    return statistics.fmean(values), statistics.stdev(values) / math.sqrt(len(values))


def _counted(setting: dict[str, Any], task: str) -> str:
    known = setting["suite"]["tasks"][task]
    return f"{known['items']:,} questions, sha256 {known['sha256'][:12]}"


def _minutes(tasks: dict[str, Any]) -> str:
    return f"{sum(task['processor_seconds'] for task in tasks.values()) / 60:.1f} minutes"
