"""Rows of docs/PLAN.md: the decode speed-up that the planner predicts, and what `bench` measures."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median
from typing import Any

from dotresize.bench.judge.paired import compare_pairs
from dotresize.compress.families.family import Axis
from dotresize.compress.record.progress import Progress
from dotresize.compress.weights.source import open_model
from dotresize.export.contract import manifest
from dotresize.plan.axes import AXES, Axes, Candidate, axes_of
from dotresize.plan.engine_steps import measure_decode_steps, step_settings, write_without_fits
from dotresize.plan.hardware import Serving, StepTime
from dotresize.plan.planner import predictor_of
from dotresize.plan.settings import PlanSettings

from .setting import SPEED, Engine, Setting

__all__ = ["measure_speed", "nearest"]


def nearest(axes: Axes, kept: Mapping[Axis, float]) -> Candidate:
    """The candidate that keeps about so much of each axis."""
    found = list(axes.dense)
    for axis, share in kept.items():
        place = AXES.index(axis)
        found[place] = min(axes.values[place], key=lambda value: abs(value - share * axes.dense[place]))
    return tuple(found)


def measure_speed(
    setting: Setting,
    kept: Mapping[Axis, float],
    serving: Serving,
    engine: Engine,
    builds: Path,
    progress: Progress,
    *,
    rounds: int,
) -> dict[str, Any]:
    """Predicted and measured decode speed-up of one sequence.

    Args:
        setting: of the page.
        kept: of each axis that moves; what the weights say does not matter, so nothing is fitted.
        serving: how fast the engine was on three other models.
        engine: that serves.
        builds: where models and logs go.
        progress: told about every step.
        rounds: how often original and narrow model are measured in turn.

    Raises:
        EngineError: a measurement failed.
    """
    opened = open_model(setting.model)
    axes, base = axes_of(opened.config, opened.family), setting.widthless()
    candidate = nearest(axes, kept)
    narrow = builds / "models" / "-".join(map(str, candidate))
    if not (narrow / manifest.MANIFEST_NAME).is_file():
        narrow.parent.mkdir(parents=True, exist_ok=True)
        write_without_fits(opened, candidate, axes.dense, base, narrow, progress)
    run = step_settings(SPEED, engine, rounds=rounds, seed=setting.seed)
    found = measure_decode_steps([setting.model, str(narrow)], run, builds / engine, progress)
    speedup = compare_pairs(*map(list, found.seconds), higher_is_better=False)
    asked = PlanSettings(budget=SPEED, base=base, engine=engine, effort="quick")
    predicted, allowed = (
        predictor_of(opened, axes, asked, one).predict(candidate).decode_speedup
        for one in (serving, replace(serving, step=None))
    )
    return {
        "candidate": list(candidate),
        "predicted": predicted,
        "roofline": allowed,
        "step": asdict(serving.step or StepTime()),
        "measured": speedup.speedup,
        "low": speedup.low,
        "high": speedup.high,
        "original_seconds": median(found.seconds[0]),
        "narrow_seconds": median(found.seconds[1]),
        "rounds": rounds,
        "dtype": run.dtype,
        "busy_elsewhere": found.busy_elsewhere,
    }
