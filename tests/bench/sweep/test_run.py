"""Whole sweeps of pico models through the real command line: resumed, interrupted, failing, on Ray."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from dotresize.bench.record.results import read

QUICK = "--engine transformers --device cpu --scenarios latency,quality --input-tokens 8 --output-tokens 4"
QUICK += " --batch-sizes 1 --rounds 1 --repeats 1 --evaluation-windows 2"
QUICK += " --calibration-windows 4 --window-tokens 64"
QUICK += " --runtime transformers"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "100"}


def command(model: Path | str, output: Path, *more: str) -> list[str]:
    program = [sys.executable, "-P", "-m", "dotresize.cli", "sweep", str(model), "-o", str(output)]
    return [*program, *QUICK.split(), *more]


def sweep(model: Path | str, output: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(model, output, *more), capture_output=True, text=True, env=ENVIRONMENT, check=False
    )


def state(output: Path) -> dict[str, Any]:
    return dict(json.loads((output / "sweep.json").read_text()))


@pytest.mark.slow
def test_a_sweep_and_its_resumption(pico_llama: Path, tmp_path: Path) -> None:
    first = sweep(pico_llama, tmp_path / "s", "--intermediate-size", "0.75", "--json")
    assert first.returncode == 0, first.stderr
    assert json.loads(first.stdout) == state(tmp_path / "s")
    (point,) = state(tmp_path / "s")["points"]
    assert (point["name"], point["status"], point["verified"]) == ("mlp-0.75", "done", True)
    assert point["row"]["intermediate_size"] == 72
    assert point["row"]["decode"]["speedup"] > 0
    assert point["row"]["kl_nats_per_token"]["value"] > 0
    assert [model.name for model in read(tmp_path / "s" / "results.json").models][1:] == ["mlp-0.75"]
    assert "mlp-0.75" in (tmp_path / "s" / "report.html").read_text()
    assert "| mlp-0.75 | 64 | 72 |" in (tmp_path / "s" / "sweep.md").read_text()

    refused = sweep(pico_llama, tmp_path / "s", "--intermediate-size", "0.75")
    assert refused.returncode == 2
    assert "holds a sweep already; go on with it by --resume" in refused.stderr
    other = sweep(pico_llama, tmp_path / "s", "--intermediate-size", "0.75", "--resume", "--seed", "7")
    assert other.returncode == 2
    assert "holds mlp-0.75 made with other options" in other.stderr

    weights = (tmp_path / "s" / "mlp-0.75" / "model" / "model.safetensors").stat().st_mtime_ns
    again = sweep(pico_llama, tmp_path / "s", "--intermediate-size", "0.75", "--resume")
    assert again.returncode == 0, again.stderr
    assert "compress" not in again.stderr
    assert ": bench" not in again.stderr
    assert (tmp_path / "s" / "mlp-0.75" / "model" / "model.safetensors").stat().st_mtime_ns == weights


@pytest.mark.parametrize("executor", ["local", pytest.param("ray", marks=pytest.mark.slow)])
def test_a_failing_point_is_recorded_and_the_exit_code_says_so(tmp_path: Path, executor: str) -> None:
    if executor == "ray":
        pytest.importorskip("ray", reason="the ray extra is not installed")
    ended = sweep(
        tmp_path / "nothing", tmp_path / "s", "--intermediate-size", "0.75,0.5", "--executor", executor
    )
    assert ended.returncode == 1
    assert "2 of 2 points failed; --resume tries them again" in ended.stderr
    for point in state(tmp_path / "s")["points"]:
        assert (point["status"], point["failed_step"]) == ("failed", "compress")
        assert "nothing" in point["error"]
        assert "exit code 2" in point["error"]


def test_ctrl_c_leaves_no_process_and_a_sweep_to_resume(pico_llama: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(
        command(pico_llama, tmp_path / "s", "--intermediate-size", "0.75,0.5", "--jobs", "2"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=ENVIRONMENT,
    )
    started: list[psutil.Process] = []
    deadline = time.monotonic() + 60
    while len(started) < 4 and time.monotonic() < deadline:  # two guardians and what they guard
        time.sleep(0.1)
        started = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert len(started) >= 4
    assert process.returncode == 130, output
    assert "the same command with --resume goes on" in output
    assert not [child for child in started if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]
    assert {point["status"] for point in state(tmp_path / "s")["points"]} == {"waiting"}


def test_dry_run_prints_the_commands_and_writes_nothing(tmp_path: Path) -> None:
    ended = sweep(
        "demo:smollm2-135m",
        tmp_path / "s",
        "--hidden-size",
        "0.9",
        "--intermediate-size",
        "0.75",
        "--dry-run",
    )
    lines = [line for line in ended.stdout.splitlines() if line.startswith("dotresize compress")]
    assert len(lines) == 3
    assert all(line.count(" && dotresize ") == 2 for line in lines)
    assert not (tmp_path / "s").exists()


def test_a_directory_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").touch()
    ended = sweep("demo:smollm2-135m", tmp_path, "--intermediate-size", "0.75")
    assert ended.returncode == 2
    assert "holds files already; choose another directory" in ended.stderr
