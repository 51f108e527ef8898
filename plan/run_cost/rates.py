"""How fast this machine does the products of a compression, on matrices of the model's own shape."""

import os
from contextlib import nullcontext

import torch
from torch.nn import functional

from ...bench.judge.analysis import BUSY_SHARE
from ...bench.process.memory_watch import MemoryWatch
from ...bench.roofline.timing import best_seconds
from ...compress.maths.moments import second_moment
from ...compress.maths.precision import fast_products
from ...compress.record.report import Widths
from ...compress.streams.activations import BATCH_TOKENS
from .work import Rates

__all__ = ["measure_rates", "watched_rates"]

OPERATIONS = 2e9  # of one repetition, so that a few seconds are enough on a processor
LEAST_ROWS = 128


def watched_rates(widths: Widths, device: torch.device) -> tuple[Rates, list[str]]:
    """`measure_rates`, and a note where other processes made the machine look slower than it is."""
    with MemoryWatch(os.getpid()) as watch:
        rates = measure_rates(widths, device)
    busy = watch.report.busy_elsewhere or 0.0
    if busy <= BUSY_SHARE:
        return rates, []
    return rates, [
        f"other processes used {busy:.0%} of this machine while its speed was measured, so the time is too "
        "long: repeat it when they are done"
    ]


@torch.no_grad()
def measure_rates(widths: Widths, device: torch.device) -> Rates:
    """Rates of a gated MLP in float32 and with reduced precision, and of a second moment in float64.

    Takes a few seconds. The best of several repetitions counts: what else runs on the machine while the
    compression runs makes it slower than this.
    """
    generator = torch.Generator().manual_seed(0)

    def matrix(rows: int, columns: int) -> torch.Tensor:
        values: torch.Tensor = torch.randn(rows, columns, generator=generator) * columns**-0.5
        return values.to(device)

    hidden, inner = widths.hidden_size, widths.intermediate_size
    count = max(LEAST_ROWS, min(BATCH_TOKENS, int(OPERATIONS / (6 * hidden * inner))))
    rows = matrix(count, hidden)
    gate, up, down = matrix(inner, hidden), matrix(inner, hidden), matrix(hidden, inner)
    total = torch.zeros(hidden, hidden, dtype=torch.float64, device=device)

    def mlp() -> torch.Tensor:
        activated = functional.silu(functional.linear(rows, gate)) * functional.linear(rows, up)
        written: torch.Tensor = functional.linear(activated, down)  # (n, hidden)
        return written

    def rate(fast: bool) -> float:
        with fast_products() if fast else nullcontext():
            return 6.0 * count * hidden * inner / best_seconds(mlp, device.type)

    moment_seconds = best_seconds(lambda: second_moment(total, rows), device.type)
    return Rates(single=rate(False), double=count * hidden**2 / moment_seconds, fast=rate(True))
