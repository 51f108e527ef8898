"""A complete `Results` for tests. EVERY NUMBER HERE IS MADE UP: nothing was measured."""

from random import Random

from dotresize.bench.record.results import MachineRates, Results
from dotresize.bench.record.settings import BenchSettings

from .example_measurements import example_ceiling, example_comparisons, measure_round
from .example_models import SHAPES, example_environment, example_memory, example_model, example_quality

__all__ = ["example_results"]


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
        environment=example_environment(),
        models=[example_model(name) for name in SHAPES],
        machine_rates=MachineRates(
            device="cpu",
            dtype="bfloat16",
            threads=8,
            matrix_flops_per_second=1.1e12,
            read_bytes_per_second=42e9,
            seconds_spent=9.5,
        ),
        memory=[example_memory(name) for name in SHAPES],
        quality=example_quality(),
        warnings=["Other processes used 12 % of the cores during round 3: its numbers are noisier."],
    )
    draw = Random(seed)
    for number in range(rounds):
        measure_round(results, number, draw, noise, slowdown)
    results.ceilings = [
        example_ceiling(name, phase, size)
        for phase in ("decode", "prefill")
        for size in settings.batch_sizes
        for name in SHAPES
    ]
    results.comparisons = example_comparisons(results)
    return results
