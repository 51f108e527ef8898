"""Four tasks in lm-eval's own format: `dotresize tasks MODEL --offline` writes and scores them.

`python -m dotresize.bench.quality.offline.suite DIR` writes them for `bench --task-directory` and lm-eval.

offline_cloze        the last word of a sentence                      lm-eval's loglikelihood, greedy
offline_pairs        a sentence against the same with one fault       multiple choice of 2
offline_arithmetic   sums, differences, products, rows                multiple choice of 4
offline_code         functions of one expression                      greedy completions, executed
"""

import hashlib
import json
import math
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from ...record.results import TaskScore
from .arithmetic import arithmetic
from .cloze import cloze
from .execution import UNTIL
from .functions import functions
from .pairs import FAULTS, pairs
from .passages import passages, sources

__all__ = ["MEAN", "METRICS", "TASKS", "mean_scores", "write_suite"]

METRICS = {
    "offline_cloze": "acc",
    "offline_pairs": "acc",
    "offline_arithmetic": "acc",
    "offline_code": "pass_at_1",
}
TASKS = tuple(METRICS)
MEAN = "offline"
RECORD = "sources.json"
_ITEMS = 1200  # of a task: a standard error of 1.44 points at most
_SEED = 42
_NEW_TOKENS = 32
_FORMS: dict[str, dict[str, Any]] = {
    "offline_cloze": {
        "output_type": "loglikelihood",
        "doc_to_text": "{{text}}",
        "doc_to_target": " {{word}}",
    },
    "offline_pairs": {
        "output_type": "multiple_choice",
        "doc_to_text": "",
        "doc_to_choice": "{{[good, bad]}}",
        "doc_to_target": 0,
    },
    "offline_arithmetic": {
        "output_type": "multiple_choice",
        "doc_to_text": "{{text}}",
        "doc_to_choice": "{{choices}}",
        "doc_to_target": "answer",
    },
    "offline_code": {
        "output_type": "generate_until",
        "doc_to_text": "{{prompt}}",
        "doc_to_target": " {{solution}}",
        "process_results": "!function judge.process_results",
        "generation_kwargs": {"until": list(UNTIL), "max_gen_toks": _NEW_TOKENS, "do_sample": False},
    },
}


def write_suite(directory: Path, tasks: Sequence[str] = TASKS) -> dict[str, Any]:
    """Write YAML and questions of some tasks, and `sources.json` beside them.

    Args:
        directory: must be there.
        tasks: of `TASKS`.

    Returns:
        The record: sources with version and licence, and items and sha256 of every task. Scores compare
        where the hashes are the same; they depend on the versions of the sources.
    """
    record: dict[str, Any] = {"sources": sources(), "seed": _SEED, "tasks": {}}
    for task in tasks:
        lines = "".join(
            sorted((json.dumps(item, ensure_ascii=False) + "\n" for item in _items(task)), key=_digest)
        )
        (directory / f"{task}.jsonl").write_text(lines, encoding="utf-8")
        (directory / f"{task}.yaml").write_text(_yaml(task), encoding="utf-8")
        record["tasks"][task] = {"items": lines.count("\n"), "sha256": _digest(lines)}
    (directory / "judge.py").write_text(
        f"from {__package__}.execution import process_results\n", encoding="utf-8"
    )
    (directory / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return record


def mean_scores(scores: Sequence[TaskScore]) -> list[TaskScore]:
    """The unweighted mean of every model's scores on these tasks, with its standard error; see `MEAN`."""
    means = []
    for model in dict.fromkeys(score.model for score in scores):
        found = [each for each in scores if each.model == model and METRICS.get(each.task) == each.metric]
        errors = [each.standard_error for each in found if each.standard_error is not None]
        spread = math.sqrt(sum(error**2 for error in errors)) / len(found)
        mean = TaskScore(
            model=model,
            task=MEAN,
            metric="mean",
            value=sum(each.value for each in found) / len(found),
            standard_error=spread if len(errors) == len(found) else None,
            documents=sum(each.documents for each in found),
        )
        means.append(mean)
    return means


def _digest(text: str) -> str:
    """Sorting questions by it mixes kinds and families, so that the first ones stand for all."""
    return hashlib.sha256(text.encode()).hexdigest()


def _items(task: str) -> Iterator[dict[str, Any]]:
    if task == "offline_cloze":
        yield from islice(cloze(passages("evaluation")), _ITEMS)
    elif task == "offline_pairs":
        yield from pairs(passages("evaluation"), _ITEMS // len(FAULTS))
    elif task == "offline_arithmetic":
        yield from arithmetic(_SEED, _ITEMS // 4)
    else:  # calls as text: the columns of `datasets` have one type each
        yield from ({**item, "calls": json.dumps(item["calls"])} for item in functions(_SEED))


def _yaml(task: str) -> str:
    """lm-eval's description of a task; JSON is YAML, but for the name of a function."""
    content = {
        "task": task,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": f"{task}.jsonl"}},
        "test_split": "test",
        "num_fewshot": 0,
        **_FORMS[task],
        "metric_list": [{"metric": METRICS[task], "aggregation": "mean", "higher_is_better": True}],
        "metadata": {"version": 1.0},
    }
    lines = [f"{key}: {json.dumps(value)}" for key, value in content.items()]
    return (
        "\n".join(lines).replace('"!function judge.process_results"', "!function judge.process_results")
        + "\n"
    )


if __name__ == "__main__":
    Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
    write_suite(Path(sys.argv[1]))
