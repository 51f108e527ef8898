"""An endpoint under load: `dotresize serve` in front, our streaming client behind, users in between."""

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Literal

from ...errors import DotresizeError
from ...serve.client import Client, Sampling
from ...serve.endpoint import Endpoint, launch, plan
from ...serve.options import ServeOptions
from ...serve.record import RequestRecord
from ..process.engine_run import OUT_OF_MEMORY
from ..process.memory_watch import MemoryWatch
from ..process.usage import with_usage
from ..record.results import BenchModel, Measurement
from ..record.settings import BenchSettings
from .context import context_tokens
from .schedule import Turn
from .token_ids import random_prompts

__all__ = ["Online", "online_requests"]

REQUESTS_PER_SLOT = 4  # each of the requests in flight is replaced this often
LEAST_REQUESTS = 8
MOST_GAPS = 2000  # inter-token latencies kept per measurement, evenly spaced over the run
DIGITS = 6  # microseconds


def online_requests(concurrency: int) -> int:
    """How many requests one measurement sends."""
    return max(LEAST_REQUESTS, REQUESTS_PER_SLOT * concurrency)


@dataclass(frozen=True)
class Online:
    """Measures through HTTP, as users will see it."""

    settings: BenchSettings
    folder: Path

    def measure(self, model: BenchModel, turn: Turn) -> list[Measurement]:
        """One measurement per number of requests in flight, all on one endpoint."""
        blanks = [
            Measurement(model=model.name, round=turn.round, scenario="online", load=load, status="ok")
            for load in turn.loads
        ]
        try:
            options = self._options(model)
            with launch(plan(options), options) as endpoint:
                return [self._at(endpoint, model, blank) for blank in blanks]
        except DotresizeError as error:
            text = " ".join(str(error).split())[:500]
            status: Literal["out of memory", "failed"] = (
                "out of memory" if OUT_OF_MEMORY.search(text) else "failed"
            )
            return [replace(blank, status=status, error=text) for blank in blanks]

    def _options(self, model: BenchModel) -> ServeOptions:
        settings = self.settings
        log_path = self.folder / "serve.log"
        log_path.unlink(missing_ok=True)
        if settings.engine == "onnx":
            return ServeOptions(
                directory=Path(model.path), engine="onnx", port=0, check=False, log_path=log_path
            )
        return ServeOptions(
            directory=Path(model.path),
            engine="vllm",
            device=settings.device,
            port=0,
            dtype=settings.dtype,
            max_model_len=context_tokens(model, settings),
            served_model_name="model",  # the same length for everyone: names travel with every chunk
            engine_flags=("--no-enable-prefix-caching", *settings.engine_flags),
            check=False,
            log_path=log_path,
        )

    def _at(self, endpoint: Endpoint, model: BenchModel, blank: Measurement) -> Measurement:
        count = online_requests(blank.load)
        prompts = random_prompts(
            count, self.settings.input_tokens, vocab_size=model.vocab_size, seed=self.settings.seed
        ).tolist()
        with MemoryWatch(endpoint.pid) as watch:
            records, seconds = asyncio.run(self._load(endpoint, prompts, blank.load))
        return with_usage(self._judged(blank, records, seconds), watch.report)

    async def _load(
        self, endpoint: Endpoint, prompts: list[list[int]], concurrency: int
    ) -> tuple[list[RequestRecord], float]:
        """All requests, `concurrency` at a time, after an untimed warm-up; and how long they took."""
        sampling = Sampling(max_tokens=self.settings.output_tokens, ignore_eos=True)
        waiting = list(enumerate(prompts))
        records: dict[int, RequestRecord] = {}
        async with Client(endpoint.url, timeout_seconds=3600) as client:

            async def ask(prompt: list[int]) -> RequestRecord:
                return await client.complete(prompt, model=endpoint.model_name, sampling=sampling)

            async def user() -> None:
                while waiting:
                    place, prompt = waiting.pop(0)
                    records[place] = await ask(prompt)

            for _ in range(self.settings.warmup):
                await asyncio.gather(*(ask(prompt) for prompt in prompts[:concurrency]))
            started = perf_counter()
            await asyncio.gather(*(user() for _ in range(concurrency)))
            seconds = perf_counter() - started
        return [records[place] for place in sorted(records)], seconds

    def _judged(self, blank: Measurement, records: list[RequestRecord], seconds: float) -> Measurement:
        wanted = self.settings.output_tokens
        bad = [record for record in records if not record.ok or record.tokens != wanted]
        if bad:
            first = bad[0].error or f"{bad[0].tokens} tokens arrived instead of {wanted}"
            return replace(
                blank, status="failed", error=f"{len(bad)} of {len(records)} requests failed: {first}"[:500]
            )
        gaps = [gap for record in records for gap in record.itl_seconds]
        samples: dict[str, list[float | None]] = {
            "ttft_seconds": [record.ttft_seconds for record in records],
            "tpot_seconds": [record.tpot_seconds for record in records],
            "e2e_seconds": [record.e2el_seconds for record in records],
            "itl_seconds": [*gaps[:: -(-len(gaps) // MOST_GAPS)]],
        }
        rounded = {
            name: [round(value or 0.0, DIGITS) for value in values] for name, values in samples.items()
        }
        rounded["output_tokens_per_second"] = [len(records) * wanted / seconds]
        rounded["requests_per_second"] = [len(records) / seconds]
        return replace(blank, samples=rounded)
