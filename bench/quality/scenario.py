"""The quality scenario of a benchmark: what narrowing costs, on text and on lm-eval tasks.

Both parts run in processes of their own, one model in memory at a time, so that the benchmark's own
process stays small.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...compress.record.progress import Progress
from ..process.child_call import call_child
from ..record.results import BenchModel, QualityRecord
from ..record.settings import BenchSettings
from .tasks import TaskModel, run_tasks

__all__ = ["QualityRequest", "measure_quality"]


@dataclass(frozen=True, kw_only=True)
class QualityRequest:
    """What the child process measures; see `measure_quality`."""

    models: list[BenchModel]  # with absolute paths
    settings: BenchSettings


def measure_quality(
    models: Sequence[BenchModel], settings: BenchSettings, progress: Progress | None = None
) -> QualityRecord:
    """Perplexity of every model, its paired ratio and KL to the first, and task scores if asked for.

    Hugging Face directories run in transformers, in `settings.dtype`; ONNX directories in ONNX Runtime. Both
    use CUDA as `settings.device` says. Windows are cut to the shortest context among the models.

    Args:
        models: the first is what the others are compared to.
        settings: text, windows, tasks, dtype and device are used.
        progress: told about every window and task.

    Raises:
        InputError: the vocabularies differ, the text is too short, or a task is not known.
        MissingDependencyError: ONNX Runtime or lm-eval is needed and is not installed.
        EngineError: the measuring process died.
    """
    text = settings.text
    if text != "builtin" and not text.startswith("hf:"):
        text = str(Path(text).resolve())
    # the child has a working directory of its own
    placed = [replace(model, path=str(Path(model.path).resolve())) for model in models]
    quality = call_child(
        "dotresize.bench.quality.scenario_child",
        QualityRequest(models=placed, settings=replace(settings, text=text)),
        QualityRecord,
        progress=progress,
        offline=not text.startswith("hf:"),
    )
    if not settings.tasks:
        return quality
    scores = run_tasks(
        [TaskModel(name=model.name, location=model.path, format=model.format) for model in placed],
        settings.tasks,
        task_directory=Path(settings.task_directory) if settings.task_directory else None,
        limit=settings.task_limit,
        dtype=settings.dtype,
        device=settings.device,
        seed=settings.seed,
        progress=progress,
    )
    return replace(quality, tasks=scores)
