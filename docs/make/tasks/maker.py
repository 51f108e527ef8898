"""`make bench-tasks`: tasks without a network, of an original and its narrow models; docs/TASKS.md.

    python -m docs.make.tasks [--narrow DIR ...] [--rows NAME ...] [--limit N]

Every model answers the same questions (`dotresize.bench.quality.offline`). Scores are kept in docs/TASKS.json
by model and task as they finish; an interrupted run goes on where it stopped.
"""

import argparse
import json
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dotresize.bench.measure.prepare import stored
from dotresize.bench.process.environment import read_environment
from dotresize.bench.quality.offline.suite import METRICS, TASKS, write_suite
from dotresize.bench.quality.tasks import TaskModel, run_tasks
from dotresize.bench.roofline.tensor_cost import weights_sha256
from dotresize.cli.printed.output import quiet_libraries
from dotresize.compress.weights.source import DEMO_MODEL
from dotresize.errors import InputError

from ..shared import kept_results
from .page import render

PAGES = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all scores share; another one starts the file afresh."""

    dtype: str
    limit: int | None  # questions of a task; None for all
    batch_size: int
    suite: dict[str, Any]  # of `write_suite`: sources, items and hashes


def run(
    models: Sequence[str],
    file: Path,
    builds: Path,
    *,
    dtype: str = "float32",
    limit: int | None = None,
    tasks: Sequence[str] = TASKS,
) -> dict[str, Any]:
    """Score what the results file does not hold yet.

    Args:
        models: the original first; each a directory, or what `dotresize compress` takes.
        file: JSON, rewritten after each task of each model.
        builds: where questions and models that are no directories go, and stay.
        dtype: of the weights.
        limit: questions of a task.
        tasks: of `TASKS`.
    """
    suite = builds / "suite"
    suite.mkdir(parents=True, exist_ok=True)
    setting = Setting(dtype=dtype, limit=limit, batch_size=8, suite=write_suite(suite))
    results, processor = kept_results.load(file, setting, "models"), read_environment().processor
    for model in models:
        directory = Path(model) if Path(model).is_dir() else stored(model, model, builds)
        weights = weights_sha256(directory, sorted(directory.glob("*.safetensors")))
        kept = results["models"].get(model)
        if kept is None or kept["sha256"] != weights:
            kept = results["models"][model] = {"sha256": weights, "processor": processor, "tasks": {}}
        for task in tasks:
            if task not in kept["tasks"]:
                kept["tasks"][task] = _scored(directory, task, suite, builds, setting)
                kept_results.store(file, results)
    return results


def _scored(directory: Path, task: str, suite: Path, builds: Path, setting: Setting) -> dict[str, Any]:
    """What became of every question, in order, and what that took."""
    started, before = time.perf_counter(), _child_seconds()
    run_tasks(
        [TaskModel(name="model", location=str(directory))],
        [task],
        task_directory=suite,
        limit=setting.limit,
        dtype=setting.dtype,
        batch_size=setting.batch_size,
        samples_directory=builds,
    )
    samples = builds / f"samples_model_{task}.jsonl"
    answers = [json.loads(line) for line in samples.read_text(encoding="utf-8").splitlines()]
    samples.unlink()
    answers.sort(key=lambda each: int(each["doc_id"]))
    return {
        "right": "".join(str(int(each[METRICS[task]])) for each in answers),
        "seconds": time.perf_counter() - started,
        "processor_seconds": _child_seconds() - before,
    }


def _child_seconds() -> float:
    """Processor time of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Parse, run, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=DEMO_MODEL, help="the original")
    parser.add_argument("--narrow", action="append", default=[], help="a narrow model; repeat it")
    parser.add_argument("--rows", nargs="+", help="only these of the models")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=TASKS)
    parser.add_argument("--limit", type=int, help="questions of a task, for a trial")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--builds", type=Path, default=Path("build/tasks"))
    parser.add_argument("-o", type=Path, default=PAGES / "TASKS.md")
    arguments = parser.parse_args()
    models = [arguments.model, *arguments.narrow]
    unknown = [row for row in arguments.rows or () if row not in models]
    if unknown:
        raise InputError(f"--rows names {', '.join(unknown)}; expected some of {', '.join(models)}")
    quiet_libraries()
    results = run(
        [model for model in models if not arguments.rows or model in arguments.rows],
        arguments.o.with_suffix(".json"),
        arguments.builds,
        dtype=arguments.dtype,
        limit=arguments.limit,
        tasks=arguments.tasks,
    )
    arguments.o.write_text(render(results), encoding="utf-8")
    print(f"written: {arguments.o}")  # noqa: T201
