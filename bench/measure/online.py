"""An endpoint under load: `dotresize serve` in front, our streaming client behind, users in between."""

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Literal

from ...errors import DotresizeError
from ...serve.client.record import RequestRecord
from ...serve.client.streaming import Client, Sampling
from ...serve.endpoint import Endpoint, launch, plan
from ...serve.engine.options import ServeOptions
from ..process.engine_run import OUT_OF_MEMORY
from ..process.memory_watch import MemoryWatch
from ..process.usage import with_usage
from ..record.rates import per_second
from ..record.results import BenchModel, Measurement
from ..record.settings import BenchSettings
from .arrivals import arrival_seconds, rate_requests
from .context import context_tokens
from .schedule import Turn
from .token_ids import random_prompts

__all__ = ["Online", "online_requests"]

REQUESTS_PER_SLOT = 4  # each of the requests in flight is replaced this often
LEAST_REQUESTS = 8
WARM_UP_REQUESTS = 4  # at once, before requests that arrive at a rate
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
        """One measurement per number of requests in flight, or per rate, all on one endpoint."""
        blanks = [
            Measurement(model=model.name, round=turn.round, scenario=turn.scenario, load=load, status="ok")
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
        at_rate = blank.scenario == "rate"
        rate = per_second(blank.load)
        count = rate_requests(rate) if at_rate else online_requests(blank.load)
        prompts = random_prompts(
            count, self.settings.input_tokens, vocab_size=model.vocab_size, seed=self.settings.seed
        ).tolist()
        arrivals = arrival_seconds(count, rate, self.settings.seed, blank.round) if at_rate else None
        with MemoryWatch(endpoint.pid) as watch:
            records, seconds = asyncio.run(self._load(endpoint, prompts, blank.load, arrivals))
        return with_usage(self._judged(blank, records, seconds), watch.report)

    async def _load(
        self, endpoint: Endpoint, prompts: list[list[int]], concurrency: int, arrivals: list[float] | None
    ) -> tuple[list[RequestRecord], float]:
        """All requests after an untimed warm-up, and how long they took.

        They are sent `concurrency` at a time, each as soon as another one ended; or when they arrive.
        """
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

            async def visitor(place: int, arrival: float) -> None:
                await asyncio.sleep(max(0.0, started + arrival - perf_counter()))
                records[place] = await ask(prompts[place])

            at_once = concurrency if arrivals is None else WARM_UP_REQUESTS
            for _ in range(self.settings.warmup):
                await asyncio.gather(*(ask(prompt) for prompt in prompts[:at_once]))
            started = perf_counter()
            if arrivals is None:
                await asyncio.gather(*(user() for _ in range(concurrency)))
            else:
                await asyncio.gather(*(visitor(*each) for each in enumerate(arrivals)))
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
