"""The page about size: what each further layer adds, and what was not measured is not there."""

from dataclasses import asdict
from typing import Any

import pytest

from docs.make.scale.maker import Setting
from docs.make.scale.page import render, slope


def results(**parts: Any) -> dict[str, Any]:
    return {
        "setting": asdict(Setting()),
        "depth": {},
        "large": {},
        "ranks": {},
        "layer": {},
    } | parts


def test_the_slope_is_what_a_layer_adds() -> None:
    assert slope({4: 100.0, 8: 108.0, 64: 220.0}) == pytest.approx(2.0)


def test_only_what_was_measured_is_on_the_page() -> None:
    run = {"parameters": 10**7, "seconds": 9.0, "steps": {}, "resumed": False}
    depth = {
        str(layers): {**run, "machine": f"processor {layers}", "peak_bytes": 7e8 + layers * 62_930}
        for layers in (4, 64)
    }
    page = render(results(depth=depth))
    assert "Each further layer adds 62.9 kB, 1.00 % of a stored layer." in page
    assert "Machine: processor 4 and processor 64." in page
    assert "Nothing here is measured" in page
    assert "A model larger than its memory" not in page
    assert "Several processes" not in page
