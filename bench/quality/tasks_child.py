"""The child process of `tasks`: lm-eval itself, quiet, without code from hubs."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import InputError, MissingDependencyError, OptionError
from ...foreign import reading
from ..process.child_call import PrintedProgress, answer
from ..record.results import TaskScore
from .tasks import TaskModel, TasksRequest

if TYPE_CHECKING:
    from lm_eval.tasks import TaskManager

__all__: list[str] = []

BOOTSTRAP_ITERATIONS = 1000  # only for metrics without a closed-form standard error
GENERATED_TOKENS = 256


def work(request: TasksRequest) -> list[TaskScore]:
    """Run the tasks on every model, one after the other."""
    os.environ["LMEVAL_LOG_LEVEL"] = "ERROR"
    os.environ["DISABLE_MULTIPROC"] = "1"  # no pool of processes for the bootstrap
    if os.environ.get("HF_HUB_OFFLINE") == "1":  # nothing of local files is left in the user's cache
        os.environ["HF_DATASETS_CACHE"] = str(Path.cwd() / "datasets")
    manager = _task_manager(request.tasks, request.task_directory, request.num_fewshot)
    progress = PrintedProgress()
    progress.begin("tasks", len(request.models))
    scores: list[TaskScore] = []
    for model in request.models:
        results = _evaluate(model, manager, request)
        if request.samples_directory is not None:
            _write_samples(Path(request.samples_directory), model.name, results["samples"])
        scores += _scores(model.name, results)
        progress.advance()
    return scores


def _task_manager(tasks: list[str], task_directory: str | None, num_fewshot: int | None) -> "TaskManager":
    """The tasks that can be named, all of them loaded once so that faults come before any model."""
    from lm_eval.tasks import TaskManager

    own: list[str] = []
    if task_directory:
        os.chdir(task_directory)  # data files are named relative to it
        manager = TaskManager(include_path=task_directory, include_defaults=False)
        own = manager.all_tasks
    if not task_directory or not set(tasks) <= set(own):
        manager = TaskManager(include_path=task_directory)
    unknown = [task for task in tasks if task not in manager.all_tasks]
    if unknown:
        local = f"{task_directory} has {', '.join(own) or 'none'}; " if task_directory else ""
        raise InputError(
            f"unknown task {', '.join(unknown)}; {local}lm-eval's own are listed by `lm-eval ls tasks`"
            + ("" if task_directory else ", and --task-directory adds local files")
        )
    with reading(f"the tasks {', '.join(tasks)}", InputError, by="lm-eval"):
        loaded = manager.load(list(tasks))["tasks"]
    fixed = [name for name, task in loaded.items() if task.get_config("num_fewshot") == 0]
    if num_fewshot and fixed:  # lm-eval would ignore it
        raise OptionError(
            f"--num-fewshot cannot take effect on {', '.join(fixed)}, which is without examples"
        )
    return manager


def _evaluate(model: TaskModel, manager: "TaskManager", request: TasksRequest) -> Any:
    import lm_eval

    kind, arguments = _model_arguments(model, request)
    seed = request.seed
    try:
        return lm_eval.simple_evaluate(
            model=kind,
            model_args=arguments,
            tasks=list(request.tasks),
            task_manager=manager,
            limit=request.limit,
            num_fewshot=request.num_fewshot,
            batch_size=request.batch_size if kind == "hf" else 1,
            log_samples=request.samples_directory is not None,
            bootstrap_iters=BOOTSTRAP_ITERATIONS,
            random_seed=seed,
            numpy_random_seed=seed,
            torch_random_seed=seed,
            fewshot_random_seed=seed,
            confirm_run_unsafe_code=False,
        )
    except ImportError as error:
        raise MissingDependencyError(
            f"lm-eval needs a package that is not installed: {_first_line(error)}; install all of them with: "
            'pip install "dotresize[tasks]"'
        ) from error
    except (OSError, ValueError, KeyError, NotImplementedError) as error:
        raise InputError(f"lm-eval cannot run {model.name}: {_first_line(error)}") from error


def _model_arguments(model: TaskModel, request: TasksRequest) -> tuple[str, dict[str, Any]]:
    """lm-eval's name for what runs the model, and its arguments."""
    if model.is_endpoint:
        return "local-completions", {
            "model": model.served_name,
            "base_url": f"{model.location.rstrip('/')}/completions",
            "tokenizer": model.tokenizer,
            "tokenizer_backend": "huggingface",
        }
    from ...compress.run import choose_device
    from ...compress.weights.source import open_model

    device = choose_device(request.device).type
    if model.format == "onnx":
        return "onnxruntime-genai", {
            "pretrained": model.location,
            "execution_provider": device,
            "max_gen_toks": GENERATED_TOKENS,
        }
    if model.format == "huggingface":  # lm-eval would fill what is missing with random numbers
        open_model(model.location, any_family=True)
    return "hf", {
        "pretrained": model.location,
        "dtype": request.dtype,
        "device": device,
        "trust_remote_code": False,
    }


def _scores(name: str, results: Any) -> list[TaskScore]:
    """One row per task and metric; lm-eval's keys are `metric,filter` and `metric_stderr,filter`."""
    rows = []
    for task, values in results["results"].items():
        for key, value in values.items():
            metric, _, chosen = key.partition(",")
            if not chosen or metric.endswith("_stderr") or not isinstance(value, (int, float)):
                continue
            error = values.get(f"{metric}_stderr,{chosen}")
            rows.append(
                TaskScore(
                    model=name,
                    task=task,
                    metric=metric if chosen == "none" else key,
                    value=float(value),
                    standard_error=float(error) if isinstance(error, (int, float)) else None,
                    documents=int(results["n-samples"].get(task, {}).get("effective", 0)),
                )
            )
    return rows


def _write_samples(directory: Path, name: str, samples: dict[str, list[dict[str, Any]]]) -> None:
    """A JSONL file per task, in lm-eval's own format."""
    safe = "".join(letter if letter.isalnum() or letter in "-._" else "-" for letter in name)
    for task, rows in samples.items():
        text = "".join(json.dumps(row, default=str, ensure_ascii=False) + "\n" for row in rows)
        (directory / f"samples_{safe}_{task}.jsonl").write_text(text, encoding="utf-8")


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__


if __name__ == "__main__":
    answer(TasksRequest, work)
