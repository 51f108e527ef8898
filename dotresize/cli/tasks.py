"""`dotresize tasks`: lm-eval scores of directories or endpoints, side by side."""

import json
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .asked.lists import check_choice, names
from .options.bench import Limit, LogSamples, NumFewshot, Offline, TaskDirectory, Tasks, Tokenizer
from .options.groups import grouped
from .options.run import ComputeOptions, Json, OptionalOutput
from .options.serving import ServedModelName
from .printed.output import emit, error_console

if TYPE_CHECKING:
    from rich.table import Table

    from ..bench.quality.tasks import TaskModel
    from ..bench.record.results import TaskScore

__all__ = ["tasks_command"]


@grouped
def tasks_command(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL|URL...",
            help="Directories of any format, hub ids, demo:smollm2-135m, or endpoints: http://HOST:PORT/v1",
        ),
    ],
    compute: ComputeOptions,
    tasks: Tasks = "",
    offline: Offline = False,
    task_directory: TaskDirectory = None,
    limit: Limit = None,
    num_fewshot: NumFewshot = None,
    output: OptionalOutput = None,
    log_samples: LogSamples = False,
    tokenizer: Tokenizer = None,
    served_model_name: ServedModelName = None,
    as_json: Json = False,
) -> None:
    """Score models on lm-eval tasks: its own (online), those of --offline, or local files."""
    from dataclasses import asdict

    from ..bench.measure.prepare import unique_names
    from ..bench.quality.offline.suite import TASKS, mean_scores, write_suite
    from ..bench.quality.tasks import run_tasks
    from ..errors import OptionError
    from ..export.disk.staging import staged_directory
    from .printed.progress import ProgressBar

    _refuse_without_effect(models, tokenizer, served_model_name, compute)
    _check_ranges(limit, compute)
    if num_fewshot is not None and num_fewshot < 0:
        raise OptionError(f"--num-fewshot is {num_fewshot}; expected 0 or more")
    if log_samples and output is None:
        raise OptionError("--log-samples has nowhere to write; name a directory with --output")
    if offline and task_directory is not None:
        raise OptionError("--task-directory and --offline each say where the tasks are; leave one out")
    data: dict[str, Any] = {}
    with ExitStack() as stack:
        progress = stack.enter_context(ProgressBar())
        directory = stack.enter_context(staged_directory(output)) if output else None
        work = Path(stack.enter_context(TemporaryDirectory(prefix="dotresize-tasks-")))
        named = zip(unique_names(models), models, strict=True)
        asked = [_model(name, place, tokenizer, served_model_name, work) for name, place in named]
        chosen = names(tasks)
        if offline:
            task_directory, chosen = work, chosen or TASKS
            data["offline"] = write_suite(work, [task for task in TASKS if task in chosen])
        scores = run_tasks(
            asked,
            chosen,
            task_directory=task_directory,
            limit=limit,
            **vars(compute),
            num_fewshot=num_fewshot,
            samples_directory=directory if log_samples else None,
            progress=progress,
        )
        scores += mean_scores(scores) if offline else []
        data["scores"] = [asdict(score) for score in scores]
        if directory is not None:
            (directory / "scores.json").write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    emit(data, _table(scores), as_json=as_json)
    if not scores:
        error_console().print("no metric came back; see the task file's metric_list")


def _check_ranges(limit: int | None, compute: ComputeOptions) -> None:
    from ..bench.record.settings import DTYPES, MAX_SEED
    from ..errors import OptionError

    check_choice("dtype", compute.dtype, DTYPES)
    if limit is not None and limit < 1:
        raise OptionError(f"--limit is {limit}; expected at least 1")
    if not 0 <= compute.seed <= MAX_SEED:
        raise OptionError(f"--seed is {compute.seed}, expected 0 to {MAX_SEED}")


def _refuse_without_effect(
    models: list[str], tokenizer: Path | None, served_name: str | None, compute: ComputeOptions
) -> None:
    from ..errors import OptionError

    endpoints = [place for place in models if place.startswith(("http://", "https://"))]
    if not endpoints and (tokenizer is not None or served_name):
        option = "--tokenizer" if tokenizer is not None else "--served-model-name"
        raise OptionError(f"{option} belongs to endpoints, and no http:// URL was named; leave it out")
    if len(endpoints) == len(models) and (compute.dtype, compute.device) != ("auto", "auto"):
        option = "--dtype" if compute.dtype != "auto" else "--device"
        raise OptionError(f"{option} belongs to directories, and only endpoints were named; leave it out")


def _model(name: str, place: str, tokenizer: Path | None, served_name: str | None, work: Path) -> "TaskModel":
    from ..bench.measure.prepare import stored
    from ..bench.quality.tasks import TaskModel
    from ..errors import OptionError
    from ..export.artefact_info import inspect_artefact

    if place.startswith(("http://", "https://")):
        if tokenizer is None:
            raise OptionError(f"{place} is an endpoint: name a directory with its tokenizer by --tokenizer")
        return TaskModel(
            name=served_name or place,
            location=place,
            served_name=served_name or tokenizer.resolve().name,
            tokenizer=str(tokenizer.resolve()),
        )
    directory = Path(place).expanduser().resolve()
    if not directory.is_dir():
        directory = stored(name, place, work)
    return TaskModel(name=name, location=str(directory), format=inspect_artefact(directory).format)


def _table(scores: "list[TaskScore]") -> "Table":
    from rich.table import Table

    shown = Table(title="lm-eval scores", title_justify="left", title_style="bold")
    for column in ("model", "task", "metric", "score", "documents"):
        shown.add_column(column, justify="right" if column in ("score", "documents") else "left")
    for score in scores:
        error = "" if score.standard_error is None else f" ± {score.standard_error:.4f}"
        shown.add_row(
            score.model, score.task, score.metric, f"{score.value:.4f}{error}", f"{score.documents:,}"
        )
    return shown
