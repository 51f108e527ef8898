"""Who is measured when."""

from collections import Counter
from dataclasses import replace

from dotresize.bench.measure.schedule import turns
from dotresize.bench.record.settings import BenchSettings, Scenario

SPEED: tuple[Scenario, ...] = ("latency", "throughput", "online")
SETTINGS = BenchSettings(
    engine="vllm", scenarios=SPEED, batch_sizes=(1, 8), concurrency=(1, 4), rounds=50, seed=3
)


def test_every_model_is_measured_once_per_round_and_load() -> None:
    planned = turns(["A", "B", "C"], SETTINGS)
    assert len(planned) == len(set(planned)) == 50 * 3 * (2 + 1 + 1)
    assert Counter(turn.model for turn in planned) == dict.fromkeys("ABC", 200)


def test_what_is_compared_is_measured_next_to_each_other() -> None:
    planned = turns(["A", "B", "C"], SETTINGS)
    for start in range(0, len(planned), 3):
        group = planned[start : start + 3]
        assert {turn.model for turn in group} == {"A", "B", "C"}
        assert len({(turn.round, turn.scenario, turn.loads) for turn in group}) == 1


def test_everyone_is_first_about_equally_often() -> None:
    firsts = Counter(turn.model for turn in turns(["A", "B"], SETTINGS)[::2])
    assert 70 <= firsts["A"] <= 130  # 100 expected of 200, standard deviation 7


def test_the_order_is_that_of_the_seed() -> None:
    assert turns(["A", "B"], SETTINGS) == turns(["A", "B"], SETTINGS)
    assert turns(["A", "B"], SETTINGS) != turns(["A", "B"], replace(SETTINGS, seed=4))


def test_only_chosen_scenarios_are_measured() -> None:
    planned = turns(["A"], BenchSettings(engine="onnx", scenarios=("latency", "quality"), batch_sizes=(1,)))
    assert {turn.scenario for turn in planned} == {"latency"}


def test_memory_is_measured_once() -> None:
    planned = turns(["A", "B"], replace(SETTINGS, scenarios=("memory", "latency")))
    assert [(turn.round, turn.loads) for turn in planned if turn.scenario == "memory"] == [(0, (1,))] * 2
