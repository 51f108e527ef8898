"""PURE. In which order things are measured, so that no model has the better half of the hour."""

from dataclasses import dataclass
from random import Random
from typing import Literal

from ..record.rates import per_minute
from ..record.settings import BenchSettings

__all__ = ["Turn", "turns"]

Measured = Literal["latency", "throughput", "online", "rate", "memory", "speculative"]


@dataclass(frozen=True)
class Turn:
    """One model at some loads of one scenario, in one round: what one start of an engine measures."""

    round: int
    model: str
    scenario: Measured
    loads: tuple[int, ...]


def turns(models: list[str], settings: BenchSettings) -> list[Turn]:
    """All turns in order: for every round and load, all models directly after each other.

    What is compared lies next to each other in time, so slow drift of the machine (heat, neighbours)
    cancels in the ratio of a pair. Who comes first is drawn anew each time from the seed.

    Args:
        models: names, the original first.
        settings: rounds, scenarios, loads and seed.
    """
    draw = Random(settings.seed)
    planned = []
    for number in range(settings.rounds):
        for scenario, loads in _loads(settings, first=number == 0):
            order = draw.sample(models, len(models))
            planned += [Turn(number, model, scenario, loads) for model in order]
    return planned


def _loads(settings: BenchSettings, *, first: bool) -> list[tuple[Measured, tuple[int, ...]]]:
    """One entry per engine start: an endpoint serves all its loads, other scenarios start for each.

    Memory does not vary from round to round and is measured in the first.
    """
    found: list[tuple[Measured, tuple[int, ...]]] = []
    if "memory" in settings.scenarios and first:
        found.append(("memory", (1,)))
    if "latency" in settings.scenarios:
        found += [("latency", (size,)) for size in settings.batch_sizes]
    if "throughput" in settings.scenarios:
        found.append(("throughput", (settings.requests,)))
    if "online" in settings.scenarios:
        found.append(("online", settings.concurrency))
        if settings.request_rates:
            found.append(("rate", tuple(map(per_minute, settings.request_rates))))
    if "speculative" in settings.scenarios:
        found += [("speculative", (count,)) for count in (0, *settings.draft_tokens)]
    return found
