"""The planner's page on a pico: rows once, in order, going on after an interrupt, and what the page says."""

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from docs.make.plan.fronts import plan_of, point_of_row
from docs.make.plan.layers import narrow_each_layer
from docs.make.plan.maker import Maker
from docs.make.plan.page import mean_of, render
from docs.make.plan.plot import plan_svg
from docs.make.plan.setting import DEFAULT, PROXIED, QUICK, SPEED_PLANS, Amount, Setting, labels_of
from docs.make.plan.speed import nearest
from dotresize.compress.record.progress import Silent
from dotresize.compress.run import choose_device, compress
from dotresize.compress.text.calibration_windows import calibration_windows
from dotresize.compress.weights.source import load_dense, open_model
from dotresize.plan.axes import axes_of

from ..text import TEXT

FEW = Amount(name="quick", calibration_windows=4, evaluation_windows=1, effort="quick")


@pytest.fixture
def maker(pico_llama_untied: Path, tmp_path: Path) -> Maker:
    setting = Setting(
        model=str(pico_llama_untied),
        calibration=(TEXT,),
        searched=("builtin:chat",),
        evaluation={"documentation": "builtin:documentation", "code": "builtin:code"},
        window_tokens=64,
        evaluation_window_tokens=64,
    )
    return Maker(
        setting=setting,
        amount=FEW,
        file=tmp_path / "PLAN.json",
        builds=tmp_path / "b",
        progress=Silent(),
        kept=tmp_path / "kept",
    )


def test_what_tells_most_comes_first() -> None:
    labels = list(labels_of("fronts", DEFAULT))
    assert labels[:2] == ["default: params 0.7: plan by proxy", "default: params 0.7: mlp"]
    assert len(labels) == len(set(labels)) == 42
    assert len(list(labels_of("speed", QUICK))) == 12


def test_rows_are_measured_once_and_make_a_page(maker: Maker) -> None:
    maker.run(("fronts",), only="params 0.7", most=2)
    rows = maker.results["fronts"]
    assert list(rows) == [f"quick: params 0.7: {row}" for row in (PROXIED, "mlp")]
    for row in rows.values():
        predicted = row["point"]["predicted"]["layer_parameters"]
        assert predicted <= 0.7 * row["original"]["layer_parameters"]
        assert mean_of(row["quality"]) > 0.0
    before = maker.file.read_bytes()
    again = replace(maker)
    again.run(("fronts",), only="params 0.7", most=0)
    assert again.results == json.loads(before)
    again.run(("fronts",), only="params 0.7: kv_groups")
    unreachable = {"quick: params 0.7: kv_groups": {"unreachable": True}}
    assert again.results["fronts"] == rows | unreachable

    record = plan_of(maker.setting, "params 0.7", PROXIED, FEW, maker.builds, Silent())
    single = point_of_row(record, "mlp")
    assert single is not None
    assert record.moved(single) == ("mlp",)

    page = render(again.results, "PLAN.svg")
    assert "## 0.7 of the layer parameters, 1 K tokens, effort quick, 1 window of each text" in page
    assert "Out of reach: kv_groups alone." in page
    planned, alone = (mean_of(row["quality"]) for row in rows.values())
    assert f"Plan by proxy loses {planned - 1:.3f}, the best axis measured, mlp, {alone - 1:.3f}: " in page
    left = "12 rows of speed, 3 rows of forecasts; with effort standard, 42 rows of fronts, 2 rows of layers"
    assert f"Not measured yet: {left}; with effort quick, 39 rows of fronts, 2 rows of layers." in page
    ElementTree.fromstring(plan_svg(again.results))


def test_layers_of_one_width_are_what_compress_makes(maker: Maker) -> None:
    dense = load_dense(maker.setting.model)
    config = replace(maker.setting.base(FEW), mlp_width=None, intermediate_size=64)
    windows = calibration_windows(config, dense, choose_device("cpu"))
    same = narrow_each_layer(dense, windows, [64, 64, 64], config, Silent())
    uneven = narrow_each_layer(dense, windows, [96, 32, 64], config, Silent())
    tokens = windows.token_ids[:1]
    with torch.no_grad():
        expected = compress(dense, config).model(tokens).logits
        torch.testing.assert_close(same(tokens).logits, expected, rtol=0.0, atol=1e-5)  # the same sums
        assert uneven(tokens).logits.isfinite().all()
    paths = [f"model.layers.{index}.mlp.up_proj.weight" for index in range(3)]
    sizes = [uneven.get_parameter(path).shape[0] for path in paths]
    assert sizes == [96, 32, 64]


def test_the_page_says_how_right_predictions_were() -> None:
    speed = {
        "onnx: MLP 7/12": {"candidate": [1, 2], "dtype": "float32", "predicted": 1.1, "measured": 1.0},
        "onnx: hidden 5/8": {
            "candidate": [3],
            "dtype": "float32",
            "predicted": 1.2,
            "measured": 1.25,
        },
    }
    step = {"roofline_factor": 1.2, "layer_seconds": 2e-4, "fixed_seconds": 1e-3}
    for row in speed.values():
        row |= {"low": None, "high": None, "busy_elsewhere": 0.1, "roofline": 2.0, "step": step}
    forecast = {
        "predicted_seconds": 9.0, "seconds": 10.0, "predicted_peak_memory_bytes": 2e9,
        "peak_memory_bytes": 1.6e9, "tokens": 8192, "busy_elsewhere": 0.5,
    }  # fmt: skip
    results = {
        "setting": {"model": "m", "evaluation": {"a": "b"}, "calibration": ["c"], "searched": []},
        "machines": [{"processor": "p", "cores": 2}],
        "fronts": {}, "layers": {}, "speed": speed, "forecasts": {"SmolLM2, MLP": forecast},
    }  # fmt: skip
    page = render(results, "PLAN.svg")
    assert "Median error: onnx 7.0% of 2 plans (80.0% by the roofline); the goal is 7%." in page
    assert "onnx takes 1.20 times the roofline, 0.20 ms a layer and 1.00 ms a step." in page
    assert "| SmolLM2, MLP | 8,192 | 9.0 | 10.0 | -10% | 2.00 | 1.60 | +25% | 50% |" in page
    assert "PLAN.svg" not in page


def test_the_speed_plans_are_on_the_grid_of_the_model(pico_llama_untied: Path) -> None:
    opened = open_model(str(pico_llama_untied))
    axes = axes_of(opened.config, opened.family)
    found = [nearest(axes, kept) for kept in SPEED_PLANS.values()]
    assert found[0] == (56, 64, 2, 3, 0)  # 5/8 of 96 lies between 56 and 64
    assert all(axes.is_legal(candidate) for candidate in found)
