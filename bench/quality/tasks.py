"""Task scores by lm-eval, in a process of its own: model directories or a served endpoint.

Task files are lm-eval's own YAML. Those of a local directory run without a network when their data lies
beside them. A YAML file may name Python functions (`!function`), which lm-eval then runs: only point
`--task-directory` at files that you trust. Code from hubs is never run.
"""

import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...compress.record.progress import Progress
from ...errors import InputError, MissingDependencyError, OptionError
from ...foreign import reading
from ..process.child_call import call_child
from ..record.results import TaskScore

__all__ = ["TaskModel", "TasksRequest", "run_tasks"]

_ENTRY = re.compile(r"^(task|group|tag|dataset_path): *[\"']?([^\s\"']+)", re.MULTILINE)
_FILE_LOADERS = {"json", "csv", "parquet", "text", "arrow"}  # of `datasets`; they read files, not a hub


@dataclass(frozen=True, kw_only=True)
class TaskModel:
    """What lm-eval asks."""

    name: str  # in the results
    location: str  # a directory, or the URL of an endpoint such as http://127.0.0.1:8000/v1
    format: str = "huggingface"  # of a directory: "huggingface", "vllm" or "onnx"
    served_name: str = ""  # of an endpoint: the model's name there
    tokenizer: str = ""  # of an endpoint: a directory with the tokenizer

    @property
    def is_endpoint(self) -> bool:
        """Whether an HTTP endpoint answers."""
        return self.location.startswith(("http://", "https://"))


@dataclass(frozen=True, kw_only=True)
class TasksRequest:
    """What the child process runs; see `run_tasks`."""

    models: list[TaskModel]  # with absolute paths
    tasks: list[str]
    task_directory: str | None
    limit: int | None
    dtype: str
    device: str
    batch_size: int
    seed: int
    num_fewshot: int | None = None
    samples_directory: str | None = None


def run_tasks(
    models: Sequence[TaskModel],
    tasks: Sequence[str],
    *,
    task_directory: Path | None = None,
    limit: int | None = None,
    dtype: str = "auto",
    device: str = "auto",
    batch_size: int = 8,
    seed: int = 42,
    num_fewshot: int | None = None,
    samples_directory: Path | None = None,
    progress: Progress | None = None,
) -> list[TaskScore]:
    """Run lm-eval's tasks on every model, one model after the other.

    Args:
        models: directories (Hugging Face or ONNX Runtime GenAI) or endpoints.
        tasks: names of tasks, groups or tags.
        task_directory: with local YAML files, added to what lm-eval ships.
        limit: documents per task at most.
        dtype: of weights in a Hugging Face directory.
        device: auto, cpu or cuda; not for endpoints.
        batch_size: sequences at a time, Hugging Face only.
        seed: of few-shot examples and sampling.
        num_fewshot: worked examples before each question; None for what each task says.
        samples_directory: where to write every question with its answers, a JSONL file per model and task.
        progress: told about every model.

    Raises:
        MissingDependencyError: lm-eval is not installed.
        InputError: a task is not known, its data cannot be read, or a model cannot be run.
        OptionError: no task was named.
        EngineError: the process died.
    """
    if importlib.util.find_spec("lm_eval") is None:
        raise MissingDependencyError(
            'tasks need lm-eval, which is not installed; install it with: pip install "dotresize[tasks]"'
        )
    if not tasks:
        raise OptionError("no task was named; name some with --tasks, such as --tasks hellaswag,arc_easy")
    if task_directory is not None and not task_directory.is_dir():
        raise InputError(f"{task_directory} is not a directory; expected one with lm-eval task files (.yaml)")
    return call_child(
        "dotresize.bench.quality.tasks_child",
        TasksRequest(
            models=[_placed(model) for model in models],
            tasks=list(tasks),
            task_directory=str(task_directory.resolve()) if task_directory else None,
            limit=limit,
            dtype=dtype,
            device=device,
            batch_size=batch_size,
            seed=seed,
            num_fewshot=num_fewshot,
            samples_directory=str(samples_directory.resolve()) if samples_directory else None,
        ),
        list[TaskScore],
        progress=progress,
        offline=_is_local(tasks, task_directory),
    )


def _placed(model: TaskModel) -> TaskModel:
    """With absolute paths: the child has a working directory of its own."""
    location = model.location if model.is_endpoint else str(Path(model.location).resolve())
    return replace(model, location=location, tokenizer=str(Path(model.tokenizer).resolve()))


def _is_local(tasks: Sequence[str], task_directory: Path | None) -> bool:
    """Whether the directory has all tasks, and their data comes from files beside them."""
    files = sorted(task_directory.rglob("*.y*ml")) if task_directory else []
    entries: list[tuple[str, str]] = []
    for file in files:
        with reading(file, InputError):
            entries += _ENTRY.findall(file.read_text(encoding="utf-8"))
    names = {value for key, value in entries if key != "dataset_path"}
    loaders = {value for key, value in entries if key == "dataset_path"}
    return set(tasks) <= names and loaders <= _FILE_LOADERS
