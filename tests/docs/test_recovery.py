"""The page of recovery on a pico: every row, equal tokens, going on after an interrupt, and its text."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from docs.make.recovery import maker as recovery
from docs.make.recovery.page import curves, render
from docs.make.shared.evaluation import ChildError, dotresize
from dotresize.compress.record.config import CompressConfig
from dotresize.compress.record.progress import Silent
from dotresize.compress.run import compress
from dotresize.export.checkpoint.write import save

from ..text import TEXT


@pytest.fixture
def setting(pico_llama: Path, tmp_path: Path) -> recovery.Setting:
    config = CompressConfig(mlp_width=0.5, calibration=TEXT, calibration_windows=4, window_tokens=32)
    save(compress(str(pico_llama), config), tmp_path / "fitted")
    return recovery.Setting(
        model=str(pico_llama),
        narrow=str(tmp_path / "fitted"),
        texts=(TEXT,),
        minutes=None,
        tokens=512,
        options=("--window-tokens", "32", "--evaluations", "1", "--device", "cpu"),
        evaluation={"own": TEXT, "manual": "builtin:documentation"},
        evaluation_windows=1,
        evaluation_window_tokens=32,
    )


def test_rows_are_run_once_with_equal_tokens_and_make_a_page(
    setting: recovery.Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = dict(list(recovery.ROWS.items())[:2])
    monkeypatch.setattr(recovery, "ROWS", few)  # each row is a process of its own
    file, builds = tmp_path / "page.json", tmp_path / "builds"
    results = recovery.run(setting, file, builds, Silent(), kept=tmp_path / "kept")
    assert list(results["rows"]) == list(few)
    tokens = [row["recovery"]["curve"][-1]["tokens"] for row in results["rows"].values()]
    assert tokens == [512, 512]
    before = sorted(path.stat().st_mtime_ns for path in builds.rglob("*"))
    assert recovery.run(setting, file, builds, Silent(), kept=tmp_path / "kept") == results
    assert sorted(path.stat().st_mtime_ns for path in builds.rglob("*")) == before

    page = render(results, "page.svg")
    for label, row in results["rows"].items():
        assert f"| {label} |" in page
        assert f"dotresize {' '.join(row['command'])}" in page
    assert "| plain pruning, not recovered | 0 | 0 |" in page
    ElementTree.fromstring(curves(results))


def test_a_row_that_fails_stops_the_run(setting: recovery.Setting, tmp_path: Path) -> None:
    command = ["recover", setting.narrow, "--teacher", "nowhere", "--tokens", "64"]
    command += ["--text", setting.texts[0]]
    with pytest.raises(ChildError, match="nowhere"):
        dotresize([*command, "-o", str(tmp_path / "out")])
