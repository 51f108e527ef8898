"""The engine's own share of a decode step: fitted from three models, measured in a real engine, kept."""

from dataclasses import replace
from pathlib import Path

import pytest

from dotresize.compress.record.config import CompressConfig
from dotresize.compress.weights.source import open_model
from dotresize.errors import EngineError
from dotresize.plan import planner
from dotresize.plan.axes import axes_of
from dotresize.plan.budget import Budget
from dotresize.plan.engine_steps import Probe, fit_step_time, probed
from dotresize.plan.hardware import Serving, StepTime, serving_rates
from dotresize.plan.planner import plan_widths, predictor_of
from dotresize.plan.settings import PlanSettings

from ..text import TEXT

FEW = CompressConfig(mlp_width=0.5, calibration=TEXT, calibration_windows=4, window_tokens=64)
FASTER = Budget(decode_speedup=1.2, context=48)


def settings(engine: str, effort: str = "quick") -> PlanSettings:
    return PlanSettings(budget=FASTER, base=FEW, engine=engine, effort=effort)  # type: ignore[arg-type]


def probes_of(step: StepTime) -> list[Probe]:
    return [
        Probe(layers=layers, roofline_seconds=roofline, seconds=step.seconds(roofline, layers))
        for layers, roofline in ((30, 6e-3), (30, 3e-3), (15, 3.5e-3))
    ]


@pytest.mark.parametrize(
    "step",
    [
        StepTime(),
        StepTime(roofline_factor=1.4),
        StepTime(roofline_factor=1.2, layer_seconds=2e-4, fixed_seconds=1e-3),
    ],
)
def test_three_models_say_what_a_step_is_made_of(step: StepTime) -> None:
    found = fit_step_time(probes_of(step))
    assert found.roofline_factor == pytest.approx(step.roofline_factor, rel=1e-6)
    assert found.layer_seconds == pytest.approx(step.layer_seconds, abs=1e-9)
    assert found.fixed_seconds == pytest.approx(step.fixed_seconds, abs=1e-9)


def test_noise_makes_no_time_negative() -> None:
    """Half the widths were no faster, and half the layers more than twice as fast: what noise can say."""
    slow, narrow, shallow = probes_of(StepTime(roofline_factor=1.2, layer_seconds=2e-4, fixed_seconds=1e-3))
    noisy = [slow, replace(narrow, seconds=slow.seconds), replace(shallow, seconds=slow.seconds / 2.1)]
    found = fit_step_time(noisy)
    assert found.roofline_factor >= 1.0
    assert min(found.layer_seconds, found.fixed_seconds) >= 0.0
    for probe in noisy:
        assert found.seconds(probe.roofline_seconds, probe.layers) == pytest.approx(probe.seconds, rel=0.2)


def test_a_step_that_beats_the_roofline_is_believed() -> None:
    """A model that lives in the caches reads faster than the machine's rates were measured."""
    found = fit_step_time(probes_of(StepTime(roofline_factor=0.5)))
    assert found.roofline_factor == pytest.approx(0.5, rel=1e-3)


def test_an_engine_with_time_of_its_own_gains_less(pico_llama_untied: Path) -> None:
    """Narrower widths gain what the roofline says, diluted; fewer layers take their own time with them."""
    opened = open_model(str(pico_llama_untied))
    axes = axes_of(opened.config, opened.family)
    sheet = serving_rates("l4", "bfloat16")

    def speedups(serving: Serving) -> list[float]:
        predictor = predictor_of(opened, axes, settings("vllm"), serving)
        found = [predictor.predict(one).decode_speedup for one in probed(axes)]
        return [one for one in found if one is not None]

    whole, narrow, shallow = speedups(sheet)
    own = StepTime(roofline_factor=1.0, layer_seconds=1e-3)  # dwarfs the roofline of so small a model
    same, diluted, fewer = speedups(replace(sheet, step=own))
    assert whole == same == 1.0
    assert 1.0 < diluted < 1.01 < narrow
    assert fewer == pytest.approx(3 / 2, rel=0.01)  # layers
    assert shallow < fewer


def test_probes_are_about_half_and_legal(pico_llama_untied: Path) -> None:
    opened = open_model(str(pico_llama_untied))
    axes = axes_of(opened.config, opened.family)
    assert probed(axes) == [(64, 96, 2, 3, 0), (32, 48, 2, 3, 0), (64, 96, 2, 2, 0)]
    fixed = replace(axes, values=tuple((own,) for own in axes.dense))
    assert probed(fixed) == [axes.dense]


def test_a_plan_for_speed_measures_the_engine_once(pico_llama_untied: Path, tmp_path: Path) -> None:
    output = tmp_path / "plan.json"
    record, state = plan_widths(str(pico_llama_untied), settings("onnx", "standard"), output=output)
    assert state is not None
    assert record.step is not None
    assert record.step.seconds(0.0, 3) > 0.0  # so small a model is all overhead
    assert record.chosen.predicted.decode_speedup is not None
    assert record.chosen.predicted.decode_speedup >= 1.2
    assert [path.name for path in tmp_path.iterdir()] == [".plan.json.dotresize-search"]
    again, resumed = plan_widths(str(pico_llama_untied), settings("onnx", "standard"), output=output)
    assert resumed is not None
    assert again.step == record.step  # so the candidates are the same, and none was measured again
    assert resumed.results == state.results
    assert again.chosen == record.chosen


def test_what_is_known_of_an_engine_can_be_given(pico_llama_untied: Path) -> None:
    serving = replace(serving_rates("l4", "bfloat16"), step=StepTime(layer_seconds=1e-3))
    record, _ = plan_widths(str(pico_llama_untied), settings("vllm"), serving=serving)
    assert record.step == serving.step
    assert record.chosen.widths["layers"] == 2  # nothing else makes it faster


def test_an_engine_that_does_not_take_the_model_leaves_the_roofline(
    pico_llama_untied: Path, tmp_path: Path
) -> None:
    """`vllm bench` draws token ids that so small a vocabulary does not have."""
    record, _ = plan_widths(str(pico_llama_untied), settings("vllm"), output=tmp_path / "plan.json")
    assert record.step is None
    assert any("vllm was not measured" in note and "384 tokens" in note for note in record.notes)
    assert list(tmp_path.iterdir()) == []


def test_an_engine_that_fails_is_said(
    pico_llama_untied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise EngineError("llama-untied: failed: no room")

    monkeypatch.setattr(planner, "measure_step_time", fails)
    record, _ = plan_widths(str(pico_llama_untied), settings("onnx"), output=tmp_path / "plan.json")
    assert record.step is None
    assert any("onnx was not measured" in note and "no room" in note for note in record.notes)
