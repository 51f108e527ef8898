"""What a dry run says against what the run then gives."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from dotresize.cli.narrowing.check import CompressRun
from dotresize.cli.narrowing.forecast import forecast_compress
from dotresize.compress.record.config import CompressConfig
from dotresize.compress.run import compress
from dotresize.compress.weights.source import open_model
from dotresize.errors import OutputError, TextError, WidthError
from dotresize.plan.run_cost.forecast import forecast
from dotresize.plan.run_cost.work import Rates

from ..text import TEXT

RATES = Rates(single=1e9, double=1e9, fast=1e9)


def config(**options: Any) -> CompressConfig:
    return CompressConfig(calibration=TEXT, calibration_windows=4, window_tokens=64, **options)


def foretell(model: Path, output: Path, **options: Any) -> None:
    run = CompressRun(
        model=str(model), output=output, config=config(**options), evaluation=("none",), as_json=True
    )
    forecast_compress(run)


@pytest.mark.parametrize("options", [{"mlp_width": 0.5, "kv_groups": 1}, {"hidden_size": 48, "layers": 2}])
def test_the_sizes_are_those_that_the_run_gives(pico_checkpoint: Path, options: dict[str, Any]) -> None:
    found = forecast(open_model(str(pico_checkpoint)), config(**options), RATES)
    report = compress(str(pico_checkpoint), config(**options)).report
    assert found.sizes.narrow == report.narrow
    assert found.sizes.narrow_counts == report.narrow_counts
    assert found.sizes.dense_counts == report.dense_counts
    assert found.cost.calibration_tokens == report.calibration.tokens
    assert found.cost.output_bytes == report.narrow_counts.weight_bytes


def test_the_dtype_of_a_model_whose_config_names_none_is_that_of_its_weights(
    pico_llama: Path, tmp_path: Path
) -> None:
    shutil.copytree(pico_llama, tmp_path / "model")
    weights = load_file(tmp_path / "model" / "model.safetensors")
    halved = {name: value.to(torch.bfloat16) for name, value in weights.items()}
    save_file(halved, tmp_path / "model" / "model.safetensors", metadata={"format": "pt"})
    file = tmp_path / "model" / "config.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps({key: content[key] for key in content if key not in ("dtype", "torch_dtype")}))
    full = forecast(open_model(str(pico_llama)), config(mlp_width=0.5), RATES)
    half = forecast(open_model(str(tmp_path / "model")), config(mlp_width=0.5), RATES)
    assert 2 * half.sizes.narrow_counts.weight_bytes == full.sizes.narrow_counts.weight_bytes
    assert compress(str(tmp_path / "model"), config(mlp_width=0.5)).model.dtype == torch.bfloat16


def test_a_dry_run_reads_no_weight_and_writes_nothing(
    pico_llama: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(pico_llama, tmp_path / "model")
    broken = load_file(tmp_path / "model" / "model.safetensors")
    broken["model.norm.weight"] *= float("nan")  # whoever reads the weights says so
    save_file(broken, tmp_path / "model" / "model.safetensors", metadata={"format": "pt"})
    foretell(tmp_path / "model", tmp_path / "out", mlp_width=0.5)
    said = json.loads(capsys.readouterr().out.splitlines()[-1])["forecast"]
    assert said["sizes"]["narrow"]["intermediate_size"] == 48
    assert said["cost"]["seconds"] > 0
    assert said["cost"]["peak_memory_bytes"] > said["sizes"]["dense_counts"]["weight_bytes"]
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_it_refuses_what_the_run_would_refuse(pico_llama: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis").write_text("years")
    with pytest.raises(OutputError, match="already exists"):
        foretell(pico_llama, tmp_path / "out", mlp_width=0.5)
    with pytest.raises(WidthError, match="which changes nothing"):
        foretell(pico_llama, tmp_path / "other", mlp_width=0.999)
    with pytest.raises(TextError, match="windows of 64 tokens, 99999 were asked for"):
        forecast(
            open_model(str(pico_llama)),
            CompressConfig(mlp_width=0.5, calibration=TEXT, calibration_windows=99999, window_tokens=64),
            RATES,
        )


@pytest.fixture
def busy_machine() -> Iterator[None]:
    processes = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)
    ]
    yield
    for process in processes:
        process.kill()
        process.wait()


@pytest.mark.usefixtures("busy_machine")
@pytest.mark.parametrize(
    ("command", "asked"),
    [
        ("compress", ["--intermediate-size", "0.5", "--dry-run"]),
        ("plan", ["--params", "0.7", "--effort", "quick"]),
    ],
)
def test_a_forecast_beside_other_work_says_so(
    pico_llama: Path, tmp_path: Path, command: str, asked: list[str]
) -> None:
    start = [sys.executable, "-m", "dotresize", command, str(pico_llama), "-o", str(tmp_path / "out.json")]
    done = subprocess.run(
        [*start, *asked, "--calibration", TEXT, "--json"], check=True, stdout=subprocess.PIPE, text=True
    )
    found = json.loads(done.stdout.splitlines()[-1])
    notes = found["forecast" if command == "compress" else "plan"]["notes"]
    assert any(re.match(r"other processes used \d+% of this machine", note) for note in notes)
