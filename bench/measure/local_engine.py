"""The transformers and ONNX engines, seen from the run: one fresh process per measurement."""

import importlib.util
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ...errors import MissingDependencyError
from ...serve.engine.machine import read_machine
from ..process.engine_run import failure_of
from ..process.usage import with_usage
from ..process.watched_child import run_watched
from ..record.results import BenchModel, Measurement
from ..record.settings import BenchSettings
from .context import context_tokens
from .local_worker import LocalAnswer, LocalRequest
from .schedule import Turn

__all__ = ["LocalEngine"]

TIMEOUT_SECONDS = 4 * 3600.0
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TQDM_DISABLE": "1",
    "PYTHONSAFEPATH": "1",
}


@dataclass(frozen=True)
class LocalEngine:
    """Generates in static batches, without a scheduler."""

    settings: BenchSettings
    folder: Path

    def check(self, models: list[BenchModel]) -> None:
        """Refuse what cannot run, before anything runs.

        Raises:
            MissingDependencyError: The engine is not installed.
            ModelError: A model's context is too short.
        """
        package, extra = ("onnxruntime_genai", "export") if self.settings.engine == "onnx" else ("torch", "")
        if importlib.util.find_spec(package) is None:
            raise MissingDependencyError(
                f"the {self.settings.engine} engine needs {package}: install `dotresize[{extra}]`"
            )
        for model in models:
            context_tokens(model, self.settings)

    def measure(self, model: BenchModel, turn: Turn) -> list[Measurement]:
        """One measurement per load; a failure is recorded, never raised."""
        return [self._one(model, turn, load) for load in turn.loads]

    def _one(self, model: BenchModel, turn: Turn, load: int) -> Measurement:
        blank = Measurement(
            model=model.name, round=turn.round, scenario=turn.scenario, load=load, status="ok"
        )
        shortage = self._shortage(model, load if turn.scenario == "latency" else 1)
        if shortage:
            return replace(blank, status="out of memory", error=shortage)
        asked = LocalRequest(
            directory=model.path,
            vocab_size=model.vocab_size,
            scenario=turn.scenario,
            load=load,
            settings=self.settings,
        )
        run, found = run_watched(
            "dotresize.bench.measure.local_worker",
            asked,
            LocalAnswer,
            folder=self.folder,
            environment=ENVIRONMENT,
            log_path=self.folder / f"{self.settings.engine}.log",
            timeout_seconds=TIMEOUT_SECONDS,
        )
        measured = with_usage(blank, run.used)
        if found is None:
            status, error = failure_of(run)
            return replace(measured, status=status, error=error)
        return replace(measured, **asdict(found))

    def _shortage(self, model: BenchModel, batch: int) -> str:
        """Why the batch cannot fit into main memory; empty when it may. A GPU says so itself."""
        if self.settings.device != "cpu":
            return ""
        tokens = self.settings.input_tokens + self.settings.output_tokens
        needed = model.weight_bytes + batch * tokens * model.kv_bytes_per_token
        free = read_machine().available_memory_bytes
        if needed <= free:
            return ""
        return f"weights and KV cache need {needed / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free"
