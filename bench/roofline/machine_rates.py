"""What this machine does at best: matrix rate, memory read rate, and a model's own matrices timed alone.

    echo '{"device": "cpu", "dtype": "float32", "threads": 2}' |
        python -m dotresize.bench.roofline.machine_rates

The request is JSON on standard input, so that a run can start this in a fresh process with the thread
count of its engine; the answer is one JSON object on standard output: `{"rates": MachineRates,
"kernels": [{"model", "phase", "batch_size", "seconds_by_part"}, ...]}`. The optional keys "models" (a list
of `BenchModel` objects), "batch_sizes" and "input_tokens" ask for kernels as well. `measure_in_child` is
the caller's side. Timings keep the best of several repetitions: a ceiling asks what is possible, and other
work on the machine can only make a repetition slower.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from time import perf_counter
from typing import TYPE_CHECKING, Any, get_args

from pydantic import TypeAdapter

from ...errors import EngineError, OptionError
from ...export.child import guarded
from ..record.results import BenchModel, MachineRates, Part, Phase
from .kernel_times import time_kernels
from .timing import best_seconds

if TYPE_CHECKING:
    import torch

__all__ = ["KernelTimes", "head_rows", "measure_in_child", "measure_rates"]

KernelTimes = dict[tuple[str, Phase, int], dict[Part, float]]  # model name, phase, batch size -> seconds

MEBIBYTE = 2**20
# Working sets of the read test; the last must be far above any cache. Shared server caches look big from
# inside a virtual machine, so sizes are measured, not derived from what the processor claims.
READ_BYTES = tuple(MEBIBYTE * size for size in (32, 64, 128, 256, 1024))
MATRIX_SIDES = {"cpu": (1024, 2048), "cuda": (4096, 8192)}
DTYPES = ("float32", "bfloat16", "float16", "int8")
CHILD_SECONDS = 600


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


def head_rows(model: BenchModel, phase: Phase, batch_size: int, input_tokens: int) -> int:
    """Positions for which logits are computed: the last of each sequence, unless the graph takes all."""
    return batch_size * (input_tokens if phase == "prefill" and model.head_every_position else 1)


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
    request = {
        "device": device,
        "dtype": dtype,
        "threads": threads,
        "models": [asdict(model) for model in models],
        "batch_sizes": list(batch_sizes),
        "input_tokens": input_tokens,
    }
    command = [sys.executable, "-m", "dotresize.bench.roofline.machine_rates"]
    try:
        with guarded(command) as (watched, lifeline):
            done = subprocess.run(
                watched,
                input=json.dumps(request),
                capture_output=True,
                text=True,
                check=False,
                timeout=CHILD_SECONDS,
                pass_fds=(lifeline,),
            )
    except subprocess.TimeoutExpired as error:
        raise EngineError(
            f"measuring the machine's rates took over {CHILD_SECONDS} s; retry when idle"
        ) from error
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise EngineError(f"measuring the machine's rates ended with exit code {done.returncode}: {last}")
    answer = json.loads(done.stdout.splitlines()[-1])
    times: KernelTimes = {
        (row["model"], row["phase"], row["batch_size"]): row["seconds_by_part"] for row in answer["kernels"]
    }
    return TypeAdapter(MachineRates).validate_python(answer["rates"]), times


def _kernel_rows(request: Mapping[str, Any]) -> list[dict[str, Any]]:
    tokens = int(request.get("input_tokens", 1))
    rows = []
    for model in TypeAdapter(list[BenchModel]).validate_python(request.get("models", [])):
        for batch_size in request.get("batch_sizes", []):
            for phase in get_args(Phase):
                seconds = time_kernels(
                    model,
                    batch_size * (tokens if phase == "prefill" else 1),
                    request["device"],
                    model.compute_dtype,
                    request["threads"],
                    head_rows=head_rows(model, phase, batch_size, tokens),
                )
                row = {"model": model.name, "phase": phase, "batch_size": batch_size}
                rows += [row | {"seconds_by_part": seconds}] if seconds else []
    return rows


def main() -> None:
    """Answer the request on standard input."""
    request = json.loads(sys.stdin.read())
    rates = measure_rates(request["device"], request["dtype"], request["threads"])
    answer = {"rates": asdict(rates), "kernels": _kernel_rows(request)}
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
