"""Constant load on one endpoint for a chosen time: does it answer everything, and does it keep its memory?

Every prompt is asked greedily again and again, and every answer must equal the first one for that prompt
up to where the engine may round differently; what differs is counted, not hidden.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from ...errors import OptionError
from .process_tree import tree_memory_bytes
from .record import RequestRecord
from .streaming import Client, Sampling

__all__ = ["SoakReport", "soak"]

MAX_MINUTES = 24 * 60.0
MAX_CONCURRENCY = 256
PROMPTS = tuple(
    f"{start} {subject}"
    for start in (
        "Once upon a time there was",
        "The main difference is",
        "In short:",
        "A list of facts about",
    )
    for subject in ("a lighthouse", "the sea", "a small town", "mathematics")
)


@dataclass(frozen=True, kw_only=True)
class SoakReport:
    """What happened. Memory is the resident memory of the whole process tree."""

    seconds: float
    sent: int
    answered: int
    failed: int
    failures: dict[str, int]  # outcome and message -> count
    changed_answers: int  # complete, but not the first answer to that prompt
    count_mismatches: int  # the server's token count is not what arrived
    output_tokens: int
    memory_start_bytes: int
    memory_end_bytes: int
    memory_peak_bytes: int

    @property
    def passed(self) -> bool:
        """Every request was answered and counted right."""
        return self.failed == 0 and self.count_mismatches == 0 and self.answered == self.sent


async def soak(
    client: Client,
    model: str,
    pid: int,
    *,
    minutes: float,
    concurrency: int,
    max_tokens: int = 64,
    on_progress: Callable[[float, int, int], None] | None = None,
) -> SoakReport:
    """Keep `concurrency` requests in flight for `minutes`.

    Args:
        client: Of the endpoint.
        model: To ask for.
        pid: Root of the engine's process tree, for its memory.
        minutes: More than 0, at most a day.
        concurrency: 1 to 256.
        max_tokens: Longest answer.
        on_progress: Gets seconds passed, requests answered and memory in bytes, about once a second.

    Raises:
        OptionError: A value is outside its range.
    """
    _check_bounds(minutes, concurrency)
    load = _Load(client, model, Sampling(max_tokens=max_tokens))
    await load.ask(0)  # the first request allocates what every request needs
    memory = [tree_memory_bytes(pid)]
    start = time.perf_counter()
    deadline = start + minutes * 60
    workers = [asyncio.create_task(load.run(worker, deadline)) for worker in range(concurrency)]
    while any(not worker.done() for worker in workers):
        await asyncio.sleep(min(1.0, minutes * 60 / 4))
        memory.append(tree_memory_bytes(pid) if psutil.pid_exists(pid) else memory[-1])
        if on_progress is not None:
            on_progress(time.perf_counter() - start, load.answered, memory[-1])
    await asyncio.gather(*workers)
    return load.report(time.perf_counter() - start, memory)


def _check_bounds(minutes: float, concurrency: int) -> None:
    if not 0 < minutes <= MAX_MINUTES:
        raise OptionError(f"a soak of {minutes:g} minutes; expected more than 0 and at most {MAX_MINUTES:g}")
    if not 1 <= concurrency <= MAX_CONCURRENCY:
        raise OptionError(f"{concurrency} requests at a time; expected 1 to {MAX_CONCURRENCY}")


class _Load:
    """Workers' shared counts."""

    def __init__(self, client: Client, model: str, sampling: Sampling) -> None:
        self._client = client
        self._model = model
        self._sampling = sampling
        self._first: dict[int, str] = {}
        self.sent = self.answered = self.changed = self.mismatches = self.tokens = 0
        self.failures: Counter[str] = Counter()

    async def run(self, worker: int, deadline: float) -> None:
        """Ask until the deadline, or until the endpoint is gone."""
        turn = worker
        while time.perf_counter() < deadline:
            record = await self.ask(turn % len(PROMPTS))
            if record.outcome == "unreachable":
                return
            turn += 1

    async def ask(self, prompt: int) -> RequestRecord:
        """One request, counted."""
        self.sent += 1
        record = await self._client.complete(PROMPTS[prompt], model=self._model, sampling=self._sampling)
        if not record.ok:
            self.failures[f"{record.outcome}: {record.error}"] += 1
            return record
        self.answered += 1
        self.tokens += record.tokens
        self.mismatches += record.usage_agrees is False
        self.changed += self._first.setdefault(prompt, record.text) != record.text
        return record

    def report(self, seconds: float, memory: list[int]) -> SoakReport:
        return SoakReport(
            seconds=seconds,
            sent=self.sent,
            answered=self.answered,
            failed=sum(self.failures.values()),
            failures=dict(self.failures),
            changed_answers=self.changed,
            count_mismatches=self.mismatches,
            output_tokens=self.tokens,
            memory_start_bytes=memory[0],
            memory_end_bytes=memory[-1],
            memory_peak_bytes=max(memory),
        )
