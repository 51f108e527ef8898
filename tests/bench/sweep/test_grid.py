"""Which points a grid has, and what a user would type for each."""

import shlex
from dataclasses import replace
from typing import Any

import pytest

from dotresize.bench.record.settings import BenchSettings
from dotresize.bench.sweep.grid import SweepSettings, plan_points
from dotresize.compress.record.config import CompressConfig
from dotresize.errors import OptionError

SETTINGS = SweepSettings(
    model="demo:smollm2-135m",
    directory="out",
    hidden=(0.9, 0.8),
    mlp=(0.75,),
    methods=("pca", "dot"),
    compress=CompressConfig(width=0.5, calibration_windows=4),
    bench=BenchSettings(engine="onnx", precision="int4", batch_sizes=(1, 8), rounds=3),
)


def test_the_grid_is_full_but_for_the_dense_point() -> None:
    assert [point.name for point in plan_points(SETTINGS)] == [
        "hidden-0.9-pca-mlp-0.75",
        "hidden-0.9-dot-mlp-0.75",
        "hidden-0.9-pca",
        "hidden-0.9-dot",
        "hidden-0.8-pca-mlp-0.75",
        "hidden-0.8-dot-mlp-0.75",
        "hidden-0.8-pca",
        "hidden-0.8-dot",
        "mlp-0.75",  # once: methods are for the hidden width
    ]


def test_one_axis_alone() -> None:
    assert [point.name for point in plan_points(replace(SETTINGS, hidden=(), methods=("pca",)))] == [
        "mlp-0.75"
    ]
    names = [point.name for point in plan_points(replace(SETTINGS, mlp=(), methods=("dot",)))]
    assert names == ["hidden-0.9-dot", "hidden-0.8-dot"]


def test_every_point_is_three_ordinary_commands() -> None:
    point = plan_points(SETTINGS)[1]
    compress, verify, bench = (step.command for step in point.steps)
    assert compress == (
        "dotresize compress demo:smollm2-135m -o out/hidden-0.9-dot-mlp-0.75/model --hidden-size 0.9 "
        "--intermediate-size 0.75 --method dot --calibration-windows 4 --evaluation none"
    )
    assert verify == "dotresize verify out/hidden-0.9-dot-mlp-0.75/model"
    assert bench == (
        "dotresize bench demo:smollm2-135m out/hidden-0.9-dot-mlp-0.75/model -o "
        "out/hidden-0.9-dot-mlp-0.75/bench --engine onnx --batch-sizes 1,8 --rounds 3 --dtype int4"
    )


def test_the_commands_parse_as_they_are_written() -> None:
    """Every flag is known to the real command line: an unknown one ends with status 2 before any work."""
    from typer.main import get_command

    from dotresize.cli import app

    everything = replace(
        SETTINGS,
        runtime="transformers",
        compress=replace(SETTINGS.compress, seed=7, device="cpu", dtype="float32", signed=False, reg=0.5),
        bench=replace(
            SETTINGS.bench,
            engine="vllm",
            scenarios=("online", "quality"),
            concurrency=(2,),
            request_rates=(0.5, 2.0),
            slo_ttft_seconds=0.25,
            text="own text.txt",
            text_windows=3,
            text_window_tokens=64,
            tasks=("a", "b"),
            task_directory="tasks",
            task_limit=4,
            engine_flags=("--max-num-seqs", "8"),
            requests=9,
            repeats=2,
            warmup=2,
            dtype="float32",
            device="cpu",
            seed=7,
            input_tokens=5,
            output_tokens=6,
        ),
    )
    commands = get_command(app).commands  # type: ignore[attr-defined]
    for step in plan_points(everything)[0].steps:
        name, *arguments = shlex.split(step.command)[1:]
        parsed = commands[name].make_context(name, arguments).params
        if name == "bench":
            assert parsed["evaluation"] == ["own text.txt"]
            assert parsed["vllm_flags"] == "--max-num-seqs 8"
            assert (parsed["evaluation_windows"], parsed["window_tokens"]) == (3, 64)
            assert (parsed["tasks"], parsed["limit"]) == ("a,b", 4)
            assert (parsed["request_rates"], parsed["slo_ttft_seconds"]) == ("0.5,2.0", 0.25)
        if name == "compress":
            assert (parsed["signed"], parsed["reg"], parsed["seed"]) == (False, 0.5, 7)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden": (), "mlp": (), "methods": ("pca",)}, "a sweep needs widths"),
        ({"hidden": (1.0,)}, "--hidden-size names 1; expected fractions between 0 and 1"),
        ({"mlp": (0.0,)}, "--intermediate-size names 0; expected fractions"),
        ({"mlp": (0.5, 0.5)}, "--intermediate-size names a value twice: 0.5, 0.5"),
        ({"hidden": ()}, "no effect without --hidden-size"),
        ({"methods": ()}, "--method is empty"),
    ],
)
def test_what_cannot_be_meant_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        replace(SETTINGS, **changes)


def test_an_unknown_method_is_refused_before_any_work() -> None:
    with pytest.raises(OptionError, match="method is 'svd'; choose one of"):
        plan_points(replace(SETTINGS, methods=("svd",)))
