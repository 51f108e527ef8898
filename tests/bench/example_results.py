"""A complete `Results` for tests. EVERY NUMBER HERE IS MADE UP: nothing was measured."""

from random import Random
from statistics import median
from typing import Any, Literal

from dotresize.bench.judge.paired import compare_pairs
from dotresize.bench.record.making import Making
from dotresize.bench.record.results import (
    BenchModel,
    Ceiling,
    Comparison,
    Environment,
    Estimate,
    MachineRates,
    Measurement,
    MemoryRecord,
    ModelQuality,
    Part,
    PartCost,
    Phase,
    QualityRecord,
    Results,
    SampleAnswer,
    TaskScore,
)
from dotresize.bench.record.settings import BenchSettings

ORIGINAL = "SmolLM2-135M"
SHAPES = {ORIGINAL: (576, 1536), "mlp-0.75": (576, 1152), "hidden-0.8": (459, 1536), "both": (513, 1184)}
SPEED = {ORIGINAL: 1.0, "mlp-0.75": 1.21, "hidden-0.8": 1.002, "both": 1.24}
PERPLEXITY = {ORIGINAL: 21.43, "mlp-0.75": 27.08, "hidden-0.8": 30.66, "both": 28.94}
PARTS: tuple[Part, ...] = ("attention", "mlp", "head")


def example_results(*, rounds: int = 5, noise: float = 0.01, slowdown: float = 1.0, seed: int = 1) -> Results:
    """An original and three narrow models on vLLM.

    Args:
        rounds: of every measurement.
        noise: relative standard deviation from round to round.
        slowdown: multiplies the durations of "mlp-0.75" only.
        seed: of the noise.
    """
    settings = BenchSettings(engine="vllm", rounds=rounds, tasks=("arc_easy",))
    results = Results(
        created_utc="2026-01-02T03:04:05Z",
        command="dotresize bench SmolLM2-135M mlp-0.75 hidden-0.8 both --engine vllm -o report",
        complete=True,
        settings=settings,
        environment=_environment(),
        models=[_model(name) for name in SHAPES],
        machine_rates=MachineRates(
            device="cpu",
            dtype="bfloat16",
            threads=8,
            matrix_flops_per_second=1.1e12,
            read_bytes_per_second=42e9,
            seconds_spent=9.5,
        ),
        memory=[_memory(name) for name in SHAPES],
        quality=_quality(),
        warnings=["Other processes used 12 % of the cores during round 3: its numbers are noisier."],
    )
    draw = Random(seed)
    for number in range(rounds):
        _measure_round(results, number, draw, noise, slowdown)
    results.ceilings = [
        _ceiling(name, phase, size)
        for phase in ("decode", "prefill")
        for size in settings.batch_sizes
        for name in SHAPES
    ]
    results.comparisons = _comparisons(results)
    return results


def _environment() -> Environment:
    return Environment(
        processor="Example CPU 9000 (made up)",
        cores=8,
        memory_bytes=32 * 10**9,
        gpu=None,
        gpu_memory_bytes=None,
        gpu_driver=None,
        gpu_clock_megahertz=None,
        system="Linux 6.1",
        versions={"python": "3.11.9", "dotresize": "0.1.0", "torch": "2.13.0", "vllm": "0.32.0"},
        load_average=0.4,
    )


def _model(name: str) -> BenchModel:
    hidden, inner = SHAPES[name]
    weights: dict[Part, int] = {
        "attention": 30 * 2 * hidden * (576 + 192),
        "mlp": 30 * 3 * hidden * inner,
        "head": 49152 * hidden,
    }
    parameters = sum(weights.values()) + (0 if hidden == 576 else 49152 * hidden)
    return BenchModel(
        name=name,
        source=f"models/{name}",
        path=f"models/{name}",
        format="huggingface",
        precision="bfloat16",
        sha256=(name.encode().hex() * 16)[:64],
        tokenizer_sha256="ab" * 32,
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        head_dim=64,
        vocab_size=49152,
        parameters=parameters,
        weight_bytes=2 * parameters,
        kv_bytes_per_token=2 * 30 * 3 * 64 * 2,
        parts={
            part: PartCost(weight_bytes=2 * count, decode_bytes=2 * count, flops_per_token=2.0 * count)
            for part, count in weights.items()
        },
        making=None if name == ORIGINAL else _making(name),
    )


def _making(name: str) -> Making:
    hidden, inner = SHAPES[name]
    verified = {"mlp-0.75": True, "hidden-0.8": False}.get(name)
    return Making(
        source=ORIGINAL,
        options={
            "effort": "standard",
            "hidden_size": str(hidden),
            "intermediate_size": str(inner),
            "seed": "42",
        },
        calibration="32 windows of 512 tokens of builtin",
        calibration_tokens=16_384,
        recovery="all from SmolLM2-135M, 400,000 tokens kept" if name == "both" else "",
        recovery_seconds=1980.0 if name == "both" else None,
        verified=verified,
        verification={
            True: "passed: 6 checks with transformers 5.19.0, vllm 0.32.0",
            False: "MISSED: logits (vllm 0.32.0)",
            None: "not recorded",
        }[verified],
    )


def _memory(name: str) -> MemoryRecord:
    model, original = _model(name), _model(ORIGINAL)
    budget = original.weight_bytes + 20_000 * original.kv_bytes_per_token
    return MemoryRecord(
        model=name,
        weight_bytes_on_disk=model.weight_bytes,
        weight_bytes_predicted=model.weight_bytes,
        weight_bytes_loaded=int(model.weight_bytes * 1.004),
        kv_bytes_per_token_predicted=model.kv_bytes_per_token,
        kv_bytes_per_token_measured=model.kv_bytes_per_token * 1.01,
        peak_bytes_predicted=model.weight_bytes + 1_900_000_000,
        peak_bytes_measured=model.weight_bytes + 2_060_000_000,
        on_gpu=False,
        reference_tokens=20_000,
        tokens_that_fit=(budget - model.weight_bytes) // model.kv_bytes_per_token,
    )


def _quality() -> QualityRecord:
    dense = PERPLEXITY[ORIGINAL]
    models = []
    for name, value in PERPLEXITY.items():
        compared = name != ORIGINAL
        ratio = Estimate(value=value / dense, standard_error=0.012)
        divergence = Estimate(value=0.2 * (value / dense - 0.2), standard_error=0.004)
        models.append(
            ModelQuality(
                model=name,
                tokens=8176,
                perplexity=Estimate(value=value, standard_error=value * 0.04),
                perplexity_ratio=ratio if compared else None,
                kl_nats_per_token=divergence if compared else None,
            )
        )
    tasks = [
        TaskScore(
            model=name,
            task="arc_easy",
            metric="acc",
            value=0.56 - (value - dense) / 80,
            standard_error=0.011,
            documents=500,
        )
        for name, value in PERPLEXITY.items()
    ]
    answers = [
        SampleAnswer(
            model=name,
            prompt=prompt,
            text=f"Made up for {name}.\n    return text[::-1] < 'ünïcode'"
            + " and on" * (12 * (name == "both")),
            complete=name != "both",
        )
        for prompt in ("Why is the sky blue?", "Write a Python function that reverses a string.")
        for name in SHAPES
    ]
    return QualityRecord(
        text="builtin",
        text_sha256="cd" * 32,
        windows=16,
        window_tokens=512,
        models=models,
        tasks=tasks,
        answers=answers,
    )


def _measure_round(results: Results, number: int, draw: Random, noise: float, slowdown: float) -> None:
    settings = results.settings
    loads: list[tuple[Literal["latency", "throughput", "online"], tuple[int, ...]]] = [
        ("latency", settings.batch_sizes),
        ("throughput", (settings.requests,)),
        ("online", settings.concurrency),
    ]
    for scenario, sizes in loads:
        for load in sizes:
            drift = draw.gauss(1, 3 * noise)  # disturbs all models of a round alike
            for name in SHAPES:
                factor = drift / SPEED[name] * (slowdown if name == "mlp-0.75" else 1)
                results.measurements.append(_measure(name, number, scenario, load, factor, draw, noise))


def _measure(
    name: str,
    number: int,
    scenario: Literal["latency", "throughput", "online"],
    load: int,
    factor: float,
    draw: Random,
    noise: float,
) -> Measurement:
    common: dict[str, Any] = {"model": name, "round": number, "scenario": scenario, "load": load}
    if name == "hidden-0.8" and (scenario, load) == ("latency", 32):
        return Measurement(**common, status="out of memory", error="Cannot allocate 2.1 GB for the KV cache")
    if name == "both" and (scenario, load, number) == ("online", 16, 2):
        return Measurement(**common, status="failed", error="engine exited with status -11 <during warm-up>")
    if scenario == "throughput":
        samples = {"output_tokens_per_second": [410 / factor * draw.gauss(1, noise)]}
    else:
        count = 3 if scenario == "latency" else 64
        samples = _latencies(factor, load, count, draw, noise * (1 if scenario == "latency" else 6))
    return Measurement(
        **common,
        status="ok",
        samples=samples,
        peak_memory_bytes=int(2.3e9 + draw.gauss(0, 1e6)),
        busy_elsewhere=0.12 if number == 2 else 0.01,
        started_utc="2026-01-02T03:04:05Z",
    )


def _latencies(factor: float, load: int, count: int, draw: Random, noise: float) -> dict[str, list[float]]:
    first = [0.041 * factor * load**0.8 * abs(draw.gauss(1, noise)) for _ in range(count)]
    step = [0.0124 * factor * load**0.15 * abs(draw.gauss(1, noise)) for _ in range(count)]
    return {
        "ttft_seconds": first,
        "tpot_seconds": step,
        "e2e_seconds": [head + 127 * tail for head, tail in zip(first, step, strict=True)],
    }


def _ceiling(name: str, phase: Phase, size: int) -> Ceiling:
    tokens = 128 * size if phase == "prefill" else size
    seconds: dict[str, float] = {}
    bound: dict[str, Literal["bytes", "flops"]] = {}
    for part, cost in _model(name).parts.items():
        by_bytes, by_flops = cost.decode_bytes / 42e9, cost.flops_per_token * tokens / 1.1e12
        seconds[part] = max(by_bytes, by_flops)
        bound[part] = "bytes" if by_bytes > by_flops else "flops"
    seconds["context"], bound["context"] = size * 0.0001, "bytes"
    return Ceiling(
        model=name,
        phase=phase,
        batch_size=size,
        seconds=sum(seconds.values()),
        seconds_by_part=seconds,
        bound_by_part=bound,
        kernel_seconds_by_part={part: value * 1.15 for part, value in seconds.items()},
    )


def _comparisons(results: Results) -> list[Comparison]:
    values: dict[tuple[str, int, str, str], dict[int, float]] = {}
    for measurement in results.measurements:
        for key, samples in measurement.samples.items():
            point = (measurement.scenario, measurement.load, key, measurement.model)
            values.setdefault(point, {})[measurement.round] = median(samples)
    found = []
    for (scenario, load, key, name), rounds in values.items():
        if name == ORIGINAL:
            continue
        original = values[scenario, load, key, ORIGINAL]
        pairs = compare_pairs(
            [original[number] for number in rounds],
            list(rounds.values()),
            higher_is_better=key.endswith("per_second"),
        )
        ceilings = _speedup_ceilings(results, name, scenario, load, key)
        fraction = pairs.speedup / ceilings["ceiling"] if "ceiling" in ceilings else None
        found.append(
            Comparison(
                model=name,
                scenario=scenario,  # type: ignore[arg-type]
                load=load,
                metric=key,
                original_median=median(original.values()),
                narrow_median=median(rounds.values()),
                pairs=pairs.pairs,
                speedup=pairs.speedup,
                low=pairs.low,
                high=pairs.high,
                verdict=pairs.verdict,
                **ceilings,
                fraction_of_ceiling=fraction,
                held_back_by="the head, which is as large as before and takes 29 % of the time"
                if fraction is not None and fraction < 0.9
                else "",
            )
        )
    return found


def _speedup_ceilings(results: Results, name: str, scenario: str, load: int, key: str) -> dict[str, float]:
    phase = {"tpot_seconds": "decode", "ttft_seconds": "prefill"}.get(key)
    if scenario != "latency" or phase is None:
        return {}
    seconds = {
        ceiling.model: ceiling.seconds
        for ceiling in results.ceilings
        if (ceiling.phase, ceiling.batch_size) == (phase, load)
    }
    best = seconds[ORIGINAL] / seconds[name]
    return {"ceiling": best, "kernel_ceiling": 1 + 0.9 * (best - 1)}
