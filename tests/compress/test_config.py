from typing import Any

import pytest

from dotresize.compress.record.config import CompressConfig
from dotresize.compress.record.effort import EFFORTS
from dotresize.errors import OptionError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "no new width was given"),
        ({"width": 0.5, "hidden_size": 3}, "width and hidden_size were both given"),
        ({"mlp_width": 0.5, "intermediate_size": 3}, "mlp_width and intermediate_size were both given"),
        ({"width": 0.0}, "width is 0.0; it is a fraction"),
        ({"width": 1.5}, "width is 1.5; it is a fraction"),
        ({"mlp_width": float("nan")}, "mlp_width is nan; it is a fraction"),
        ({"width": 0.5, "method": "svd"}, "method is 'svd'; choose one of dot, magnitude, pca, pca.dot"),
        ({"width": 0.5, "mlp_method": "pca"}, "mlp_method is 'pca'; choose one of dot, magnitude"),
        ({"width": 0.5, "compensate": "some"}, "compensate is 'some'"),
        ({"width": 0.5, "effort": "fast"}, "effort is 'fast'; choose one of quick, standard, thorough"),
        ({"width": 0.5, "dtype": "int8"}, "dtype is 'int8'"),
        ({"width": 0.5, "device": "tpu"}, "device is 'tpu'"),
        ({"width": 0.5, "reg": -1.0}, "reg is -1.0; it must be at least 0"),
        ({"width": 0.5, "ridge_share": -0.1}, "ridge_share is -0.1; it must be at least 0"),
        ({"width": 0.5, "ridge_tokens": float("nan")}, "ridge_tokens is nan; it must be at least 0"),
        ({"width": 0.5, "window_tokens": 1}, "window_tokens is 1; it must be at least 2"),
        ({"width": 0.5, "calibration_windows": 0}, "calibration_windows is 0; it must be at least 1"),
        ({"width": 0.5, "ridge_tokens": float("inf")}, "ridge_tokens is inf; it must be a number below"),
        ({"width": 0.5, "reg": float("inf")}, "reg is inf; it must be a number below"),
        ({"width": 0.5, "seed": 10**22}, "seed is 10000000000000000000000; it must be a number below 2.63"),
        ({"width": 0.5, "calibration_windows": -3}, "calibration_windows is -3; it must be at least 1"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        CompressConfig(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mlp_width": 0.75, "method": "dot"}, "method dot has no effect without a hidden width"),
        ({"mlp_width": 0.75, "reg": 0.5}, "reg 0.5 has no effect without a transport"),
        ({"width": 0.5, "mlp_method": "dot"}, "mlp_method dot has no effect without an MLP width"),
        ({"width": 0.5, "method": "pca", "signed": False}, "signed False has no effect without a transport"),
        (
            {"width": 0.5, "method": "dot", "mass": "energy"},
            "mass energy has no effect without an MLP transport",
        ),
        ({"mlp_width": 0.5, "mass": "uniform"}, "mass uniform has no effect without an MLP transport"),
        (
            {"width": 0.5, "compensate": "none", "neuron_steps": 3},
            "neuron_steps 3 has no effect with compensate",
        ),
        ({"width": 0.5, "compensate": "readout", "neuron_steps": 0}, "neuron_steps 0 has no effect"),
        ({"width": 0.5, "compensate": "none", "ridge_tokens": 5.0}, "ridge_tokens 5.0 has no effect with"),
        ({"width": 0.5, "compensate": "none", "ridge_share": 0.1}, "ridge_share 0.1 has no effect with"),
        ({"width": 0.5, "compensate": "none", "effort": "quick"}, "effort quick has no effect with"),
        (
            {"width": 0.5, "compensate": "readout", "effort": "thorough"},
            "thorough trains what compensate full",
        ),
        ({"width": 0.5, "calibration_windows": 1, "effort": "thorough"}, "is 1; give at least 2"),
        ({"mlp_width": 0.5, "mlp_method": "magnitude+dot", "signed": True}, "signed True has no effect"),
    ],
)
def test_an_option_without_effect_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        CompressConfig(**options).settings()


def test_only_effective_values_are_recorded() -> None:
    recorded = CompressConfig(mlp_width=0.75).to_dict()
    assert recorded["mlp_method"] == "magnitude"
    assert (recorded["compensate"], recorded["ridge_tokens"], recorded["neuron_steps"]) == ("full", 1600.0, 1)
    assert [recorded[name] for name in ("method", "reg", "signed", "mass")] == [None] * 4
    transport = CompressConfig(width=0.5, mlp_width=0.5, mlp_method="dot", compensate="none").to_dict()
    assert (transport["method"], transport["reg"], transport["signed"], transport["mass"]) == (
        "pca",
        0.01,
        True,
        "uniform",
    )
    assert (transport["ridge_tokens"], transport["neuron_steps"]) == (None, None)


def test_an_effort_sets_the_steps_that_were_not_asked_for() -> None:
    steps = {effort: CompressConfig(width=0.5, effort=effort).settings().neuron_steps for effort in EFFORTS}
    assert steps == {"quick": 0, "standard": 1, "thorough": 2}
    assert CompressConfig(width=0.5, effort="quick", neuron_steps=3).settings().neuron_steps == 3
