"""Budgets, candidates that spend them, and budgets that cannot be met."""

from pathlib import Path

import pytest

from dotresize.bench.measure.prepare import settle
from dotresize.bench.record.settings import BenchSettings
from dotresize.compress.families.shape import widths_of
from dotresize.compress.record.config import CompressConfig
from dotresize.compress.weights.source import open_model
from dotresize.errors import OptionError, WidthError
from dotresize.plan import planner
from dotresize.plan.axes import Axes, axes_of
from dotresize.plan.budget import Budget, parse_bytes, parse_parameters
from dotresize.plan.candidates import check_feasible, holds, single_axis, spread
from dotresize.plan.hardware import data_sheets, serving_rates
from dotresize.plan.prediction import Predictor
from dotresize.plan.settings import PlanSettings
from dotresize.plan.size_model import SizeModel

BASE = CompressConfig(mlp_width=0.5)


def predictor_of(model: Path, budget: Budget, target: str | None = None) -> tuple[Axes, Predictor]:
    opened = open_model(str(model))
    axes = axes_of(opened.config, opened.family)
    sizes = SizeModel(opened.config, opened.family, axes, BASE)
    widths = widths_of(opened.config, opened.family)
    serving = None if target is None else serving_rates(target, "float32")
    return axes, Predictor(sizes, widths, budget, dtype="float32", serving=serving)


BUDGETS = {
    "params": Budget(params=0.7),
    "number": Budget(params=60_000),
    "bytes": Budget(weight_bytes=400_000),
    "memory": Budget(memory_bytes=2_000_000, context=512, concurrency=2),
    "speed": Budget(decode_speedup=1.3, context=64),
    "both": Budget(params=0.8, decode_speedup=1.2, context=64),
}


@pytest.mark.parametrize("name", BUDGETS)
def test_candidates_meet_the_budget_and_spend_it(pico_llama_untied: Path, name: str) -> None:
    """Of each candidate, one axis at least could not be a step wider, by the way it was filled."""
    budget = BUDGETS[name]
    target = "h100" if budget.decode_speedup else None
    axes, predictor = predictor_of(pico_llama_untied, budget, target)
    needs = predictor.needs()
    check_feasible(axes, predictor.predict, needs)
    found = spread(axes, predictor.predict, needs)
    assert len(found) > 10
    assert len(set(found)) == len(found)
    for candidate in found:
        assert axes.is_legal(candidate)
        assert holds(predictor.predict(candidate), needs)
        tight = []
        for axis in axes.moving:
            place = axes.values[axis].index(candidate[axis])
            wider = (*candidate[:axis], axes.values[axis][max(place - 1, 0)], *candidate[axis + 1 :])
            tight.append(wider == candidate or not holds(predictor.predict(wider), needs))
        assert any(tight)
    for candidate in single_axis(axes, predictor.predict, needs).values():
        assert sum(new != old for new, old in zip(candidate, axes.dense, strict=True)) == 1


def test_reading_bounds_the_decode_of_one_sequence(pico_llama_untied: Path) -> None:
    """At one rate for every size, a step takes the bytes that it reads: weights, one row, and the cache."""
    axes, predictor = predictor_of(pico_llama_untied, Budget(decode_speedup=1.1, context=100), "h200")
    reads = []
    for candidate in (axes.dense, (64, 48, 1, 2, 0)):
        sizes = predictor.sizes.sizes(candidate)
        weights = sum(part.decode_bytes for part in sizes.parts.values())
        reads.append(weights + 101 * sizes.cache_elements_per_token)  # 100 tokens in, the middle of 2 out
    speedup = predictor.predict((64, 48, 1, 2, 0)).decode_speedup
    assert speedup == pytest.approx(reads[0] / reads[1], rel=1e-12)  # sums of the same few terms


def test_what_cannot_be_met_says_what_is_nearest(pico_llama_untied: Path) -> None:
    axes, predictor = predictor_of(pico_llama_untied, Budget(params=0.001))
    with pytest.raises(WidthError, match=r"--params \d+ cannot be reached; nearest feasible: .* binds: "):
        check_feasible(axes, predictor.predict, predictor.needs())
    axes, predictor = predictor_of(pico_llama_untied, Budget(weight_bytes=10**9))
    with pytest.raises(OptionError, match="meets --weight-bytes 1,000,000,000 as it is; there is nothing"):
        check_feasible(axes, predictor.predict, predictor.needs())


@pytest.mark.parametrize(
    ("text", "value"), [("0.75", 0.75), ("6B", 6e9), ("135m", 135e6), ("6e9", 6e9), ("100 K", 1e5)]
)
def test_parameters(text: str, value: float) -> None:
    assert parse_parameters(text) == value


@pytest.mark.parametrize(
    ("text", "value"), [("12GB", 12 * 10**9), ("12GiB", 12 * 2**30), ("800 mb", 8 * 10**8), ("1024", 1024)]
)
def test_bytes(text: str, value: int) -> None:
    assert parse_bytes("--memory", text) == value


def test_what_is_no_budget() -> None:
    with pytest.raises(OptionError, match="--memory is '12 apples'; give a size such as"):
        parse_bytes("--memory", "12 apples")
    for text in ("-3", "1.2.3", "1e999", "nan", ""):
        with pytest.raises(OptionError, match="--params is"):
            Budget(params=parse_parameters(text))
    with pytest.raises(OptionError, match="no budget was given"):
        Budget()
    with pytest.raises(OptionError, match="--params 1 changes nothing"):
        Budget(params=1.0)
    with pytest.raises(OptionError, match="the original reaches 1"):
        Budget(decode_speedup=1.0)
    with pytest.raises(OptionError, match="--context is 0"):
        Budget(memory_bytes=1, context=0)


def test_data_sheets_say_where_they_come_from(tmp_path: Path) -> None:
    assert set(data_sheets()) == {"h100", "h200", "l4", "a10"}
    for sheet in data_sheets().values():
        assert "data sheet" in sheet.source
        assert "https://www.nvidia.com/" in sheet.source
        assert 1e11 < sheet.read_bytes_per_second < 1e13
    assert serving_rates("l4", "float32").origin.startswith("data sheet, not measured: ")
    with pytest.raises(OptionError, match="--target is 'gtx'; choose one of h100"):
        serving_rates("gtx", "float32")
    (tmp_path / "own.json").write_text('{"name": "mine"}')
    with pytest.raises(OptionError, match="is damaged at read_bytes_per_second"):
        serving_rates(str(tmp_path / "own.json"), "float32")


def test_speed_here_is_predicted_in_what_the_engine_runs_in(pico_llama_untied: Path) -> None:
    """The weights are stored in float32; vLLM runs bfloat16 where the processor has it."""
    opened = open_model(str(pico_llama_untied))
    settings = PlanSettings(budget=Budget(decode_speedup=1.2, context=64), base=BASE, effort="quick")
    predictor = planner.predictor_of(opened, axes_of(opened.config, opened.family), settings)
    assert predictor.serving is not None
    assert predictor.serving.rates.dtype == settle(BenchSettings(engine="vllm")).dtype
    assert predictor.dtype == "float32"
    predicted = predictor.predict((64, 48, 1, 2, 0))
    assert predicted.weight_bytes == 4 * predicted.parameters
    assert predicted.decode_speedup is not None
    assert 1.0 < predicted.decode_speedup < 4.0
