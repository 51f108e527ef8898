"""What this machine does at best: matrix rate, memory read rate, and a model's own matrices timed alone.

Measured in a fresh process with the thread count of the engine: `measure_in_child` is the caller's side.
Timings keep the best of several repetitions: a ceiling asks what is possible, and other
work on the machine can only make a repetition slower.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, get_args

from ...errors import DotresizeError, EngineError, OptionError
from ..process.child_call import answer, call_child
from ..record.results import BenchModel, MachineRates, Part, Phase
from .kernel_times import time_kernels
from .model_work import head_rows
from .timing import best_seconds

if TYPE_CHECKING:
    import torch

__all__ = ["KernelTimes", "measure_in_child", "measure_rates"]

KernelTimes = dict[tuple[str, Phase, int], dict[Part, float]]  # model name, phase, batch size -> seconds

MEBIBYTE = 2**20
# Working sets of the read test; the last must be far above any cache. Shared server caches look big from
# inside a virtual machine, so sizes are measured, not derived from what the processor claims.
READ_BYTES = tuple(MEBIBYTE * size for size in (32, 64, 128, 256, 1024))
MATRIX_SIDES = {"cpu": (1024, 2048), "cuda": (4096, 8192)}
DTYPES = ("float32", "bfloat16", "float16", "int8")
CHILD_SECONDS = 600


@dataclass(frozen=True, kw_only=True)
class RatesRequest:
    """What to measure; see `measure_in_child`."""

    device: str
    dtype: str
    threads: int
    models: list[BenchModel] = field(default_factory=list)
    batch_sizes: list[int] = field(default_factory=list)
    input_tokens: int = 1


@dataclass(frozen=True, kw_only=True)
class KernelRow:
    """The matrices of one model in one phase, timed alone."""

    model: str
    phase: Phase
    batch_size: int
    seconds_by_part: dict[Part, float]


@dataclass(frozen=True, kw_only=True)
class RatesReply:
    """What was measured."""

    rates: MachineRates
    kernels: list[KernelRow]


def measure_rates(device: str, dtype: str, threads: int) -> MachineRates:
    """Measure the matrix rate and the read rates; takes a few seconds.

    Args:
        device: "cpu" or "cuda".
        dtype: What matrices are multiplied in: "float32", "bfloat16", "float16", or "int8" (summed in int32).
        threads: CPU threads, at least 1; set for the whole process.

    Raises:
        OptionError: An argument is outside its range, or there is no such device.
    """
    import torch

    _check(device, dtype, threads)
    started = perf_counter()
    torch.set_num_threads(threads)
    flops_per_second = max(_matrix_rate(device, dtype, side) for side in MATRIX_SIDES[device])
    rates = _read_rates(device)
    return MachineRates(
        device=device,
        dtype=dtype,
        threads=threads,
        matrix_flops_per_second=flops_per_second,
        read_bytes_per_second=rates[-1][1],
        seconds_spent=perf_counter() - started,
        read_rates=rates,
    )


def _check(device: str, dtype: str, threads: int) -> None:
    import torch

    if device not in MATRIX_SIDES or dtype not in DTYPES:
        known = f"{', '.join(DTYPES)} on {' or '.join(MATRIX_SIDES)}"
        raise OptionError(f"rates of {dtype} on {device}; expected one of {known}")
    if device == "cuda" and not torch.cuda.is_available():
        raise OptionError("rates of cuda, but torch finds no GPU; use the cpu device")
    if threads < 1:
        raise OptionError(f"{threads} threads; expected at least 1")


def _matrix_rate(device: str, dtype: str, side: int) -> float:
    """FLOPs per second of one square product: 2 side^3 over the best time."""
    import torch

    if dtype == "int8":
        left, right = (torch.randint(-9, 9, (side, side), dtype=torch.int8, device=device) for _ in range(2))
        seconds = best_seconds(lambda: torch._int_mm(left, right), device)
    else:
        kind = getattr(torch, dtype)
        first, second = (torch.randn(side, side, device=device).to(kind) for _ in range(2))
        result = torch.empty(side, side, dtype=kind, device=device)
        seconds = best_seconds(lambda: torch.mm(first, second, out=result), device)
    return 2.0 * side**3 / seconds


def _read_rates(device: str) -> list[tuple[int, float]]:
    """(working set, bytes per second), each size read again and again by the fastest of three methods."""
    import torch

    buffer = torch.ones(max(READ_BYTES) // 4, device=device)
    return [(size, size / _read_seconds(buffer[: size // 4], device)) for size in READ_BYTES]


def _read_seconds(values: "torch.Tensor", device: str) -> float:
    """Shortest time to read all values (float32) once: as a sum, a dot product, or a matrix by a vector."""
    import torch

    half = values.numel() // 2
    rows = values.view(-1, 4096)
    vector = torch.ones(4096, device=values.device)
    methods: Sequence[Callable[[], object]] = (
        values.sum,
        lambda: torch.dot(values[:half], values[half:]),
        lambda: torch.mv(rows, vector),
    )
    return min(best_seconds(method, device) for method in methods)


def measure_in_child(
    device: str,
    dtype: str,
    threads: int,
    *,
    models: Sequence[BenchModel] = (),
    batch_sizes: Sequence[int] = (),
    input_tokens: int = 1,
) -> tuple[MachineRates, KernelTimes]:
    """`measure_rates` and `time_kernels` in a fresh process.

    Args:
        device: "cpu" or "cuda".
        dtype: Of the matrix rate; see `BenchModel.compute_dtype`. Kernels run in each model's own.
        threads: CPU threads of the engine.
        models: Whose matrices to time; none by default.
        batch_sizes: At each of these, for the prefill of `input_tokens` and for one decode step.
        input_tokens: Of each sequence.

    Raises:
        EngineError: The process failed, or took longer than ten minutes.
    """
    request = RatesRequest(
        device=device,
        dtype=dtype,
        threads=threads,
        models=list(models),
        batch_sizes=list(batch_sizes),
        input_tokens=input_tokens,
    )
    try:
        reply = call_child(
            "dotresize.bench.roofline.machine_rates", request, RatesReply, timeout_seconds=CHILD_SECONDS
        )
    except DotresizeError as error:
        raise EngineError(f"the machine's rates could not be measured: {error}") from error
    times = {(row.model, row.phase, row.batch_size): row.seconds_by_part for row in reply.kernels}
    return reply.rates, times


def _kernel_rows(request: RatesRequest) -> list[KernelRow]:
    rows = []
    for model in request.models:
        for batch_size in request.batch_sizes:
            for phase in get_args(Phase):
                seconds = time_kernels(
                    model,
                    batch_size * (request.input_tokens if phase == "prefill" else 1),
                    request.device,
                    model.compute_dtype,
                    request.threads,
                    head_rows=head_rows(model, phase, batch_size, request.input_tokens),
                )
                row = KernelRow(model=model.name, phase=phase, batch_size=batch_size, seconds_by_part=seconds)
                rows += [row] if seconds else []
    return rows


def work(request: RatesRequest) -> RatesReply:
    """Measure both."""
    rates = measure_rates(request.device, request.dtype, request.threads)
    return RatesReply(rates=rates, kernels=_kernel_rows(request))


if __name__ == "__main__":
    answer(RatesRequest, work)
