"""Rows of docs/PLAN.md: what a dry run says a compression takes, and what the run then takes.

Both are commands in processes of their own, as a user starts them.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from dotresize.bench.process.memory_watch import MemoryWatch

from ..scale.model import Shape, write_llama
from .setting import Setting

__all__ = ["measure_forecast"]

SMALL = Shape(hidden=256, mlp=768, layers=4, heads=4, groups=2, head_dim=64, vocabulary=2048)
LARGER = Shape(hidden=512, mlp=1536, layers=8, heads=8, groups=4, head_dim=64, vocabulary=2048)
RUNS: dict[str, tuple[Shape | None, tuple[str, ...]]] = {  # None: the model of the page
    "pico, MLP": (SMALL, ("--intermediate-size", "0.75")),
    "pico, hidden and MLP": (LARGER, ("--hidden-size", "0.75", "--intermediate-size", "0.75")),
    "SmolLM2, MLP": (None, ("--intermediate-size", "0.75")),
}
CALIBRATION = ("--calibration", "builtin:documentation", "--window-tokens", "512")
TIMED = ("survey", "narrow")  # steps that the prediction is for


def measure_forecast(setting: Setting, label: str, builds: Path, *, windows: int = 16) -> dict[str, Any]:
    """Predicted and measured seconds and peak memory of one run.

    Args:
        setting: of the page.
        label: of `RUNS`.
        builds: where the model is written, and removed again.
        windows: of the calibration.
    """
    shape, widths = RUNS[label]
    folder = builds / "forecast"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    model = setting.model
    if shape is not None:
        model = str(folder / "model")
        write_llama(folder / "model", shape)
    command = ["compress", model, "-o", str(folder / "out"), *widths, *CALIBRATION]
    command += ["--calibration-windows", str(windows), "--seed", str(setting.seed), "--evaluation", "none"]
    cost = _dotresize([*command, "--dry-run"])["forecast"]["cost"]
    with MemoryWatch(os.getpid()) as watch:  # only for what others did meanwhile
        done = _dotresize(command)
    shutil.rmtree(folder)
    return {
        "predicted_seconds": cost["seconds"],
        "seconds": sum(done["seconds"].get(step, 0.0) for step in TIMED),
        "predicted_peak_memory_bytes": cost["peak_memory_bytes"],
        "peak_memory_bytes": done["peak_memory_bytes"],
        "tokens": cost["calibration_tokens"],
        "busy_elsewhere": watch.report.busy_elsewhere,
    }


def _dotresize(arguments: list[str]) -> dict[str, Any]:
    command = [sys.executable, "-m", "dotresize", *arguments, "--json"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
