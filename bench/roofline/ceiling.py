"""PURE: the shortest times that the machine allows (roofline), and what holds a measurement back from them.

For each part of one pass, with F the machine's FLOPs per second and R its read rate in bytes per second:

    seconds(part) = max(FLOPs / F, bytes / R)

and a pass takes the sum over its parts, because they run one after the other. With b sequences, t input
tokens, L layers, H heads of D numbers, and k bytes of keys and values per token:

    prefill   rows b t; weights read once; context FLOPs 2 L H D b t (t + 1): scores and weighted sum, causal;
              context bytes b t k
    decode    rows b at a context of c = t + output / 2 tokens; weights read once for the whole batch; context
              FLOPs 4 L H D b c, bytes b c k
    head      the last position of each sequence: transformers' `generate`, vLLM and pruned ONNX graphs
              compute no other logits. A graph with `head_every_position` computes b t rows in the
              prefill, and that is counted, because no engine could run that graph any faster.

R depends on how much is read over and over (all bytes of one step): a small model lives in the caches.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from math import log
from typing import Literal

from ..record.results import Ceiling, MachineRates, Part, PartCost, Phase
from ..record.settings import BenchSettings
from .machine_rates import KernelTimes
from .model_work import ModelWork, head_rows

__all__ = ["batch_sizes_of", "ceilings", "predicted_seconds", "read_rate", "speedup_ceiling"]

DECODE_METRICS = ("tpot_seconds", "itl_seconds")
PREFILL_METRICS = ("ttft_seconds",)


def ceilings(
    models: Sequence[ModelWork],
    settings: BenchSettings,
    rates: MachineRates,
    kernel_times: KernelTimes | None = None,
) -> list[Ceiling]:
    """The roofline of every model, phase and batch size of a run.

    Args:
        models: All models of the run.
        settings: Lengths and batch sizes.
        rates: Measured for the models' `compute_dtype`.
        kernel_times: From `machine_rates.measure_in_child`; what it lacks stays None in the result.
    """
    found = []
    for model in models:
        for batch_size in batch_sizes_of(settings):
            for phase in ("prefill", "decode"):
                work = _work(model, phase, batch_size, settings)
                kernels = (kernel_times or {}).get((model.name, phase, batch_size))
                found.append(_ceiling(model, phase, batch_size, work, rates, kernels))
    return found


def batch_sizes_of(settings: BenchSettings) -> list[int]:
    """Numbers of sequences that are in the engine together: batches, requests in flight, or all requests.

    An engine that cannot hold all requests of the throughput scenario at once reads its weights more
    often, so the ceiling is right but may be out of reach.
    """
    sizes: set[int] = set()
    if {"latency", "online", "throughput"} & set(settings.scenarios):
        sizes |= {
            1,
            *settings.batch_sizes,
        }  # engines without scheduling work on one, or cut requests to batches
    if "online" in settings.scenarios:
        sizes |= set(settings.concurrency)
    if "throughput" in settings.scenarios:
        sizes.add(settings.requests)
    if "speculative" in settings.scenarios:
        sizes.add(1)
    return sorted(sizes)


def read_rate(rates: MachineRates, working_set_bytes: float) -> float:
    """Bytes per second for a working set: between measured sizes, linear in the logarithm of the size."""
    points = sorted(rates.read_rates) or [(1, rates.read_bytes_per_second)]
    if working_set_bytes <= points[0][0]:
        return points[0][1]
    for (small, fast), (large, slow) in pairwise(points):
        if working_set_bytes <= large:
            share = log(working_set_bytes / small) / log(large / small)
            return fast + (slow - fast) * share
    return points[-1][1]


def predicted_seconds(
    found: Iterable[Ceiling],
    *,
    model: str,
    metric: str,
    batch_size: int,
    output_tokens: int,
    kernels: bool = False,
) -> float | None:
    """Shortest possible value of a metric in seconds; for tokens per second, the time for all the tokens.

    Args:
        found: From `ceilings`.
        model: Name of the model.
        metric: "ttft_seconds": the prefill. "tpot_seconds" and "itl_seconds": one decode step.
            All others ("e2e_seconds", "output_tokens_per_second"): prefill + (output tokens - 1) steps.
        batch_size: Sequences in the engine together.
        output_tokens: Of each sequence.
        kernels: Take the matrices as timed alone instead of their roofline.

    Returns:
        None where no such ceiling was computed, or no kernels were timed.
    """
    passes: dict[str, float] = {}
    for ceiling in found:
        if ceiling.model == model and ceiling.batch_size == batch_size:
            if kernels and ceiling.kernel_seconds_by_part is None:
                return None
            passes[ceiling.phase] = sum(seconds_by_part(ceiling, kernels=kernels).values())
    if len(passes) < 2:
        return None
    prefills, steps = passes_of(metric, output_tokens)
    return prefills * passes["prefill"] + steps * passes["decode"]


def speedup_ceiling(
    found: Iterable[Ceiling],
    *,
    original: str,
    narrow: str,
    metric: str,
    batch_size: int,
    output_tokens: int,
    kernels: bool = False,
) -> float | None:
    """Best speed-up of `narrow` over `original` in a metric; see `predicted_seconds`."""
    listed = list(found)
    before, after = (
        predicted_seconds(
            listed,
            model=model,
            metric=metric,
            batch_size=batch_size,
            output_tokens=output_tokens,
            kernels=kernels,
        )
        for model in (original, narrow)
    )
    return before / after if before is not None and after else None


def passes_of(metric: str, output_tokens: int) -> tuple[int, int]:
    """How many prefills and how many decode steps a metric spans."""
    if metric in PREFILL_METRICS:
        return 1, 0
    return (0, 1) if metric in DECODE_METRICS else (1, output_tokens - 1)


def seconds_by_part(ceiling: Ceiling, *, kernels: bool) -> dict[str, float]:
    """Of one pass; with `kernels`, timed matrices replace their roofline where they were timed."""
    timed = ceiling.kernel_seconds_by_part if kernels else None
    return {**ceiling.seconds_by_part, **(timed or {})}


def _work(
    model: ModelWork, phase: Phase, batch_size: int, settings: BenchSettings
) -> dict[str, tuple[float, float]]:
    """Part -> (FLOPs, bytes) of one pass."""
    tokens = settings.input_tokens
    rows = {"prefill": batch_size * tokens, "decode": batch_size}[phase]
    last = head_rows(model, phase, batch_size, tokens)
    work = {part: _part_work(cost, last if part == "head" else rows) for part, cost in model.parts.items()}
    table = model.parts.get("embedding")
    if table is not None:
        work["embedding"] = (0.0, float(table.decode_bytes * rows))  # a row for each token
    width = 2.0 * model.num_hidden_layers * model.num_attention_heads * model.head_dim
    if phase == "prefill":
        length, flops = float(tokens), width * batch_size * tokens * (tokens + 1)
    else:
        length = tokens + settings.output_tokens / 2
        flops = 2 * width * batch_size * length
    context = (flops, batch_size * length * model.kv_bytes_per_token)
    return {str(part): values for part, values in work.items()} | {"context": context}


def _part_work(cost: PartCost, rows: int) -> tuple[float, float]:
    return cost.flops_per_token * rows, float(cost.decode_bytes)


def _ceiling(
    model: ModelWork,
    phase: Phase,
    batch_size: int,
    work: Mapping[str, tuple[float, float]],
    rates: MachineRates,
    kernels: Mapping[Part, float] | None,
) -> Ceiling:
    rate = read_rate(rates, sum(moved for _, moved in work.values()))
    seconds, bounds = {}, {}
    for part, (flops, moved) in work.items():
        computing, reading = flops / rates.matrix_flops_per_second, moved / rate
        seconds[part] = max(computing, reading)
        bound: Literal["bytes", "flops"] = "flops" if computing > reading else "bytes"
        bounds[part] = bound
    return Ceiling(
        model=model.name,
        phase=phase,
        batch_size=batch_size,
        seconds=sum(seconds.values()),
        seconds_by_part=seconds,
        bound_by_part=bounds,
        kernel_seconds_by_part=None
        if kernels is None
        else {str(part): value for part, value in kernels.items()},
    )
