"""Candidates measured side by side: the same plan, and nothing is left running."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from dotresize.bench.sweep.ray_cluster import gpus_each
from dotresize.compress.record.config import CompressConfig
from dotresize.compress.record.progress import Silent
from dotresize.errors import EngineError, OptionError
from dotresize.plan.axes import Candidate
from dotresize.plan.budget import Budget
from dotresize.plan.measure import Fidelity, Measurer, Recipe
from dotresize.plan.planner import plan_widths
from dotresize.plan.search_state import SearchState
from dotresize.plan.settings import PlanSettings
from dotresize.plan.workers import Workers, open_workers

from ..text import TEXT

CANDIDATES: list[Candidate] = [(64, 48, 2, 3, 0), (64, 96, 2, 2, 0), (64, 96, 1, 3, 0)]


def recipe_for(model: Path) -> Recipe:
    return Recipe(
        model=str(model),
        own=(64, 96, 2, 3, 0),
        base=CompressConfig(mlp_width=0.5, calibration=TEXT, window_tokens=64),
        evaluation=("builtin:chat",),
        fidelity=Fidelity(window_tokens=64, windows=2, most_windows=2, evaluation_windows=1),
    )


def losses_of(model: Path, workers: Workers) -> list[float]:
    recipe, state = recipe_for(model), SearchState(None, "")
    with open_workers(workers, recipe, lambda _: None) as score:
        measure = Measurer(score, state, Silent())
        found = measure(CANDIDATES, 0)
        assert measure(CANDIDATES[::-1], 0) == found[::-1]  # kept, and in the order that was asked for
        assert measure.count == len(state.results) == 3
    assert not multiprocessing.active_children()
    return [one.kl_nats_per_token for one in found]


@pytest.mark.parametrize(
    "workers",
    [Workers(jobs=2), pytest.param(Workers(executor="ray"), marks=pytest.mark.slow)],
    ids=["local", "ray"],
)
def test_workers_measure_what_one_process_does(pico_llama_untied: Path, workers: Workers) -> None:
    if workers.executor == "ray":
        pytest.importorskip("ray", reason="the ray extra is not installed")
    alone = losses_of(pico_llama_untied, Workers())
    assert losses_of(pico_llama_untied, workers) == pytest.approx(alone, rel=1e-4)


def test_a_dead_worker_is_an_error_that_says_what_to_do(pico_llama_untied: Path) -> None:
    with open_workers(Workers(jobs=2), recipe_for(pico_llama_untied), lambda _: None) as score:
        first = score(CANDIDATES, 0)
        next(first)
        for process in multiprocessing.active_children():
            process.kill()
        with pytest.raises(EngineError, match="2 hold the original at a time. Give fewer --jobs"):
            [*first, *score(CANDIDATES, 1)]


@pytest.mark.parametrize(
    ("device", "gpus", "asked"),
    [("auto", [0, 2], 1), ("auto", [0, 0], 0), ("cpu", [2, 2], 0), ("cuda", [0, 0], 1)],
)
def test_ray_is_asked_for_a_gpu_where_one_can_be_had(device: str, gpus: list[int], asked: int) -> None:
    assert gpus_each(device, [{"CPU": 8.0, "GPU": float(count)} for count in gpus]) == asked


def test_what_a_worker_refuses_is_the_same_error(pico_llama_untied: Path, tmp_path: Path) -> None:
    settings = PlanSettings(
        budget=Budget(params=0.7),
        base=CompressConfig(mlp_width=0.5, calibration=TEXT, calibration_windows=4, window_tokens=64),
        evaluation=(str(tmp_path / "nothing.txt"),),
    )
    with pytest.raises(OptionError, match="--jobs is 0"):
        Workers(jobs=0)
    messages = []
    for workers in (Workers(), Workers(jobs=2)):
        with pytest.raises(Exception, match="nothing.txt") as caught:
            plan_widths(str(pico_llama_untied), settings, workers=workers)
        messages.append((type(caught.value), str(caught.value)))
    assert messages[0] == messages[1]


def _heed_interrupts() -> None:
    """A job in the background of a shell ignores them, and so do its children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_workers_end_with_the_command(pico_llama_untied: Path, tmp_path: Path, how: signal.Signals) -> None:
    command = [sys.executable, "-m", "dotresize", "plan", str(pico_llama_untied), "--params", "0.7"]
    command += ["--calibration", TEXT, "--calibration-windows", "8", "--window-tokens", "64", "--jobs", "2"]
    process = subprocess.Popen(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONSAFEPATH": "1"},
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_heed_interrupts,
    )
    state, deadline = tmp_path / ".plan.json.dotresize-search", time.monotonic() + 120
    while not state.is_file() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    workers = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(how)
    _, told = process.communicate(timeout=60)
    assert len(workers) >= 2
    assert process.returncode == (-9 if how == signal.SIGKILL else 128 + how), told
    if how != signal.SIGKILL:
        assert not any(word in told for word in ("Traceback", "Warning", "leaked")), told
    assert psutil.wait_procs(workers, timeout=20)[1] == []
    assert state.is_file()  # what was measured waits
    assert not (tmp_path / "plan.json").exists()
