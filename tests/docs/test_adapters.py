"""The page of adapters on a pico: rows that are kept, its text, a base that cannot be used."""

from pathlib import Path

import pytest

from docs.make.adapters import maker
from docs.make.adapters.page import render
from docs.make.shared.evaluation import Fitted
from docs.make.shared.measured import mean_kl
from dotresize.compress.record.progress import Silent
from dotresize.compress.weights.source import load_dense
from dotresize.export.checkpoint.dense import save_dense
from dotresize.export.for_vllm.to_vllm import VllmConfig, export_vllm

from ..text import TEXT


def test_an_adapter_comes_nearer_and_is_fitted_once(pico_llama: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    pytest.importorskip("compressed_tensors")
    base = tmp_path / "narrow-w4a16"
    save_dense(load_dense(str(pico_llama)), tmp_path / "floats")
    export_vllm(tmp_path / "floats", base, VllmConfig(quantize="w4a16", group_size=8))
    setting = Fitted(
        model=str(pico_llama),
        calibration=(TEXT,),
        calibration_windows=8,
        window_tokens=32,
        evaluation={"own": TEXT},
        evaluation_windows=2,
        evaluation_window_tokens=32,
    )
    file, builds = tmp_path / "page.json", tmp_path / "builds"
    results = maker.run(setting, [base], [8], file, builds, Silent(), kept=tmp_path / "kept")
    assert (list(results["rows"]), results["failed"]) == ([base.name, f"{base.name}, rank 8"], {})
    plain, adapted = results["rows"].values()
    assert mean_kl(adapted["quality"]) < mean_kl(plain["quality"])
    assert adapted["bytes"] > plain["bytes"]
    before = sorted(path.stat().st_mtime_ns for path in builds.rglob("*"))
    assert maker.run(setting, [base], [8], file, builds, Silent(), kept=tmp_path / "kept") == results
    assert sorted(path.stat().st_mtime_ns for path in builds.rglob("*")) == before
    results["speed"][f"{base.name}, rank 8"] = {"without": [10.0, 20.0, 30.0], "with": [5.0, 18.0, 24.0]}
    page = render(results)
    assert f"| {base.name}, rank 8 |" in page
    assert "| 18.0 | 0.80x |" in page
