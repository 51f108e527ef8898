"""The method benchmark on a pico model: all rows, resuming, and the page."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from dotresize.bench import quality
from dotresize.bench.quality import Setting, methods_at, render, run_quality
from dotresize.bench.quality_plot import quality_svg


@pytest.fixture
def setting(pico_llama: Path) -> Setting:
    text = str(Path(__file__).parents[1] / "compress" / "text.txt")
    return Setting(
        model=str(pico_llama),
        width=0.75,
        mlp_width=0.75,
        calibration=text,
        calibration_windows=4,
        window_tokens=64,
        evaluation=text,
        evaluation_windows=2,
        evaluation_window_tokens=64,
        seed=1,
    )


def test_every_method_is_measured_and_finished_rows_are_kept(setting: Setting, tmp_path: Path) -> None:
    file = tmp_path / "quality.json"
    results = run_quality(setting, file)
    assert set(results["rows"]) == set(methods_at(setting))
    assert json.loads(file.read_text()) == results

    del results["rows"]["hidden: pca, full"]  # as if the run had stopped before this row
    results["rows"]["hidden: pca, none"]["seconds"] = -1.0  # recognisable: it must not be measured again
    assert "Not measured yet: hidden: pca, full." in render(results, "make bench-quality", "plot.svg")
    file.write_text(json.dumps(results))
    resumed = run_quality(setting, file)
    assert "hidden: pca, full" in resumed["rows"]
    assert resumed["rows"]["hidden: pca, none"]["seconds"] == -1.0

    page = render(resumed, "make bench-quality", "plot.svg")
    assert page.count("\n| hidden:") == 10
    assert page.count("\n| mlp:") == 7
    assert "Not measured yet" not in page
    assert "](plot.svg)" in page

    picture = quality_svg(resumed)
    assert picture == quality_svg(resumed)
    drawn = {text.text for text in ElementTree.fromstring(picture).iter("{http://www.w3.org/2000/svg}text")}
    assert {label.split(": ", 1)[1] for label in resumed["rows"]} <= drawn


def test_another_setting_starts_afresh(setting: Setting, tmp_path: Path) -> None:
    file = tmp_path / "quality.json"
    file.write_text(json.dumps({"setting": {"model": "another"}, "rows": {"hidden: pca, full": {}}}))
    assert quality._load(file, setting)["rows"] == {}
