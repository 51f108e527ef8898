"""The method benchmark on a pico model: all rows, resuming, and the page."""

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from docs.make.domains.suite import _replace
from docs.make.quality.page import render
from docs.make.quality.plot import quality_svg
from docs.make.quality.rows import HEADLINE, MORE, Setting, has_more, rows_at
from docs.make.quality.run import run_quality
from docs.make.quality.texts import calibrations_at, longer, self_text_file, write_self_texts
from docs.make.shared import kept_results
from dotresize.compress.record.progress import Silent
from dotresize.compress.text.mixture import BUILTIN_SHARES, mixture_of
from dotresize.compress.weights.source import load_dense

from ..text import TEXT


@pytest.fixture
def setting(pico_llama: Path) -> Setting:
    text = TEXT
    return Setting(
        model=str(pico_llama),
        width=0.75,
        mlp_width=0.75,
        calibrations={"own": [text], "code": ["builtin:code", f"{text}=0.25"]},
        calibration_windows=4,
        window_tokens=64,
        texts=[text, "builtin:code"],
        evaluation_windows=2,
        evaluation_window_tokens=64,
        seed=1,
    )


def test_every_method_is_measured_and_finished_rows_are_kept(setting: Setting, tmp_path: Path) -> None:
    file = tmp_path / "quality.json"
    results = run_quality(setting, file, kept=tmp_path)
    assert set(results["rows"]) == set(rows_at(setting))
    assert json.loads(file.read_text()) == results

    del results["rows"]["hidden: pca, full [own]"]  # as if the run had stopped before this row
    results["rows"]["hidden: pca, none [own]"][
        "seconds"
    ] = -1.0  # recognisable: it must not be measured again
    assert "Not measured yet: hidden: pca, full [own]." in render(results, "make bench-quality", "plot.svg")
    file.write_text(json.dumps(results))
    sources = {
        "code": {
            "source": "this Python's own files",
            "version": "3",
            "licence": "PSF-2.0",
            "documents": {"evaluation": 2},
        },
        "chat": {"missing": "no such package"},
    }
    resumed = run_quality(setting, file, sources=sources, kept=tmp_path)
    assert "hidden: pca, full [own]" in resumed["rows"]
    assert resumed["rows"]["hidden: pca, none [own]"]["seconds"] == -1.0
    page = render(resumed, "make bench-quality", "plot.svg")
    both = (
        sum(label.startswith("hidden") for label in HEADLINE),
        sum(label.startswith("mlp") for label in HEADLINE),
    )
    assert page.count("\n| hidden:") == 2 * (12 + both[0])  # ratios and costs
    assert page.count("\n| mlp:") == 2 * (15 + both[1])
    assert "| chat | left out: no such package |" in page
    assert "| code | this Python's own files | 3 | PSF-2.0 | 2 for evaluation |" in page
    assert "Not measured yet" not in page
    assert "](plot.svg)" in page
    assert page.count("* hidden: `hidden: dot") == 1
    assert page.count("* mlp: `mlp: dot") == 1

    picture = quality_svg(resumed)
    assert picture == quality_svg(resumed)
    drawn = {text.text for text in ElementTree.fromstring(picture).iter("{http://www.w3.org/2000/svg}text")}
    assert {label.split(": ", 1)[1] for label in resumed["rows"]} <= drawn


def test_another_setting_starts_afresh(setting: Setting, tmp_path: Path) -> None:
    file = tmp_path / "quality.json"
    file.write_text(json.dumps({"setting": {"model": "another"}, "rows": {"hidden: pca, full": {}}}))
    assert kept_results.load(file, setting, "rows")["rows"] == {}


def test_every_machine_is_named_once(setting: Setting, tmp_path: Path) -> None:
    file = tmp_path / "quality.json"
    results = kept_results.load(file, setting, "rows")
    kept_results.store(file, results)
    here = kept_results.machines(results)
    assert "cores" in here
    versions = {"torch": "2.0"}
    results["machines"].insert(0, {"processor": "another", "cores": 3, "versions": versions})
    kept_results.store(file, results)
    kept = kept_results.load(file, setting, "rows")
    assert kept_results.machines(kept) == f"another (3 cores) and {here}"
    assert kept_results.machines(kept, "torch").startswith("another (3 cores, torch 2.0) and ")


def test_rows_can_be_chosen(setting: Setting) -> None:
    quick = rows_at(setting, quick=True)
    assert set(quick) == {f"{method} [{name}]" for method in HEADLINE for name in ("own", "code")}
    assert list(quick)[:2] == [f"{HEADLINE[0]} [own]", f"{HEADLINE[0]} [code]"]
    chosen = rows_at(setting, only=("mlp: magnitude, readout", "hidden: pca, full [code]"))
    assert set(chosen) == {"mlp: magnitude, readout [own]", "hidden: pca, full [code]"}
    assert chosen["hidden: pca, full [code]"].calibration == tuple(setting.calibrations["code"])


def test_the_page_marks_what_was_calibrated_on(setting: Setting, tmp_path: Path) -> None:
    results = run_quality(setting, tmp_path / "quality.json", only=("mlp: magnitude, none",), kept=tmp_path)
    page = render(results, "make bench-quality", "plot.svg")
    lines = [line for line in page.splitlines() if line.startswith("| mlp: magnitude, none")]
    own, code = (next(line for line in lines if name in line).split(" | ") for name in ("[own]", "[code]"))
    assert own[1].startswith("*")
    assert not own[2].startswith("*")
    assert code[1].startswith("*")
    assert code[2].startswith("*")
    assert "## Transport" not in page


def test_more_tokens_and_more_work_are_measured_with_the_default(setting: Setting) -> None:
    changed = replace(setting, calibrations={**setting.calibrations, "builtin": [setting.texts[0]]})
    trained, more, hidden, both = (row for label, row in rows_at(changed).items() if has_more(label))
    assert trained.effort == "thorough"
    assert (trained.calibration, more.calibration) == (setting.texts[0], f"{setting.texts[0]}=1")
    assert more.calibration_windows == hidden.calibration_windows == MORE * setting.calibration_windows
    assert both == replace(more, effort="thorough")


def test_self_text_is_written_once(pico_llama: Path, tmp_path: Path) -> None:
    file = self_text_file(tmp_path, 200, 3)
    dense = load_dense(str(pico_llama))
    write_self_texts(dense, [f"{file}=0.5", "builtin:code"], Silent())
    assert json.loads(file.read_text().splitlines()[0])["text"]
    before = file.stat().st_mtime_ns
    write_self_texts(dense, [str(file)], Silent())
    assert file.stat().st_mtime_ns == before
    assert longer([f"{file}=0.5", "builtin:code"], 8) == [
        f"{self_text_file(tmp_path, 800, 3)}=0.5",
        "builtin:code=0.5",
    ]
    _replace(
        tmp_path / "sources.json", json.dumps({"encyclopaedia": {"documents": {}}, "chat": {"missing": "x"}})
    )
    calibrations = calibrations_at(tmp_path, file)
    assert calibrations["WikiText-2"] == [str(tmp_path / "encyclopaedia.calibration.jsonl")]
    assert calibrations["self"] == [str(file)]
    assert calibrations["mixed"] == calibrations["WikiText-2"]
    assert len(mixture_of(calibrations["builtin"])) == len(BUILTIN_SHARES)
    assert str(file) in {part.spec for part in mixture_of(calibrations["builtin"])}
