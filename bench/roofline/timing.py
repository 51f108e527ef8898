"""The shortest time of a piece of work, alone or in turn with others: what is possible undisturbed."""

from collections.abc import Callable, Mapping, Sequence
from time import perf_counter

from ..record.results import Part

__all__ = ["best_seconds", "time_in_turn"]

MIN_REPETITIONS, MAX_REPETITIONS = 7, 200
BUDGET_SECONDS = 0.25
MIN_TURNS, MAX_TURNS = 3, 100
TURNS_BUDGET_SECONDS = 2.0


def best_seconds(work: Callable[[], object], device: str) -> float:
    """Shortest of many repetitions, after two for warm-up: a quarter of a second long, 7 to 200 of them."""
    work()
    work()
    best, spent, repetitions = float("inf"), 0.0, 0
    while repetitions < MIN_REPETITIONS or (spent < BUDGET_SECONDS and repetitions < MAX_REPETITIONS):
        seconds = _seconds_of(work, device)
        best, spent, repetitions = min(best, seconds), spent + seconds, repetitions + 1
    return best


def time_in_turn(parts: Mapping[Part, Sequence[Callable[[], object]]], device: str) -> dict[Part, float]:
    """Sum over each part's pieces of their best times, all pieces taking turns.

    Pieces are short, so that each finds moments in which nothing else runs on the machine; and between two
    turns of one piece all others have gone through the caches, as in the model.
    """
    best = {part: [float("inf")] * len(pieces) for part, pieces in parts.items()}
    spent, turn = 0.0, 0
    while turn <= MIN_TURNS or (spent < TURNS_BUDGET_SECONDS and turn <= MAX_TURNS):
        for part, pieces in parts.items():
            for index, work in enumerate(pieces):
                seconds = _seconds_of(work, device)
                spent += seconds
                if turn:  # the first turn is warm-up
                    best[part][index] = min(best[part][index], seconds)
        turn += 1
    return {part: sum(seconds) for part, seconds in best.items()}


def _seconds_of(work: Callable[[], object], device: str) -> float:
    """Duration of one call. CUDA: device time between two events."""
    if device != "cuda":
        started = perf_counter()
        work()
        return perf_counter() - started
    import torch

    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    start.record()
    work()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / 1e3
