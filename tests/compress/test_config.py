from typing import Any

import pytest

from dotresize.compress.config import CompressConfig
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
        ({"width": 0.5, "dtype": "int8"}, "dtype is 'int8'"),
        ({"width": 0.5, "device": "tpu"}, "device is 'tpu'"),
        ({"width": 0.5, "reg": -1.0}, "reg is -1.0; it must be at least 0"),
        ({"width": 0.5, "ridge_tokens": float("nan")}, "ridge_tokens is nan; it must be at least 0"),
        ({"width": 0.5, "window_tokens": 1}, "window_tokens is 1; it must be at least 2"),
        ({"width": 0.5, "calibration_windows": 0}, "calibration_windows is 0; it must be at least 1"),
        ({"width": 0.5, "calibration_windows": -3}, "calibration_windows is -3; it must be at least 1"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        CompressConfig(**options)
