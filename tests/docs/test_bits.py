"""The page of width and bits on a pico: rows that are kept, the front, the share of bytes, its text."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from docs.make import bits
from docs.make.bits_page import front, kl_of, render, share_where_width_helps
from docs.make.bits_plot import bits_svg
from dotresize.compress.progress import Silent

TEXT = str(Path(__file__).parents[1] / "compress" / "text.txt")


def row(width: float, size: int, loss: float) -> dict[str, Any]:
    models = [{}, {"kl_nats_per_token": {"value": loss}}]
    return {"width": width, "bytes": size, "quality": {"texts": [{"models": models}]}}


ROWS = {
    "original, 16 bits": row(1.0, 100, 0.0),
    "original, 4 bits": row(1.0, 30, 0.4),
    "narrow, 16 bits": row(0.5, 60, 0.2),
    "narrow, 4 bits": row(0.5, 20, 0.9),
    "narrow, rounded badly": row(0.5, 70, 0.5),
}


def test_the_front_is_what_nothing_beats_in_both() -> None:
    assert front(ROWS) == set(ROWS) - {"narrow, rounded badly"}


def test_width_helps_where_the_best_row_that_fits_is_narrow() -> None:
    # 20 to 30: nothing else fits; 30 to 60: 4 bits alone; 60 to 100: the narrow floats
    assert share_where_width_helps(ROWS) == pytest.approx((10 + 40) / 80)
    assert share_where_width_helps({"a": ROWS["original, 4 bits"]}) is None


def test_a_part_of_the_rows_is_selected_by_name() -> None:
    assert len(bits.labels()) == len(bits.WIDTHS) * len(bits.BITS)
    assert list(bits.labels(("original, w4a16", "0.6, bfloat16"))) == [
        "original, w4a16 nearest", "original, w4a16 calibrated", "width 0.6, bfloat16",
    ]  # fmt: skip


def test_rows_are_measured_once_and_make_a_page(pico_llama: Path, tmp_path: Path) -> None:
    pytest.importorskip("compressed_tensors")
    setting = bits.Setting(
        model=str(pico_llama),
        calibration=(TEXT,),
        calibration_windows=4,
        window_tokens=32,
        evaluation={"own": TEXT, "manual": "builtin:documentation"},
        evaluation_windows=1,
        evaluation_window_tokens=32,
    )
    file, builds = tmp_path / "page.json", tmp_path / "builds"
    only = ("original, w4a16 nearest",)
    results = bits.run(setting, file, builds, Silent(), only=only)
    assert list(results["rows"]) == list(only)
    assert kl_of(results["rows"][only[0]]) > 0
    before = sorted(path.stat().st_mtime_ns for path in builds.rglob("*"))
    assert bits.run(setting, file, builds, Silent(), only=only) == results
    assert sorted(path.stat().st_mtime_ns for path in builds.rglob("*")) == before
    page = render(results, "page.svg")
    assert "| original, w4a16 nearest |" in page
    assert "Not enough rows" in page
    ElementTree.fromstring(bits_svg(results))
