"""Rows of docs/PLAN.md: the decode speed-up that the planner predicts, and what `bench` measures."""

from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from dotresize.bench.judge.paired import compare_pairs
from dotresize.bench.measure.local_engine import LocalEngine
from dotresize.bench.measure.prepare import prepare, settle
from dotresize.bench.measure.schedule import turns
from dotresize.bench.measure.vllm_offline import VllmOffline
from dotresize.bench.record.results import Measurement
from dotresize.bench.record.settings import BenchSettings
from dotresize.compress.record.progress import Progress
from dotresize.compress.run import compress
from dotresize.compress.weights.source import open_model
from dotresize.export.checkpoint.write import save
from dotresize.export.contract import manifest
from dotresize.plan.axes import Candidate, axes_of, config_of
from dotresize.plan.budget import Budget
from dotresize.plan.planner import PlanSettings, predictor_of

from .setting import CONTEXT_TOKENS, SPEED_TOKENS, Engine, Setting

__all__ = ["SpeedError", "measure_speed"]

METRIC = "tpot_seconds"


class SpeedError(Exception):
    """A measurement that failed."""


def measure_speed(
    setting: Setting,
    candidate: Candidate,
    engine: Engine,
    builds: Path,
    progress: Progress,
    *,
    rounds: int,
    repeats: int,
) -> dict[str, Any]:
    """Predicted and measured decode speed-up of one sequence.

    Args:
        setting: of the page.
        candidate: whose speed is asked; what its weights say does not matter, so nothing is fitted.
        engine: that serves.
        builds: where models and logs go.
        progress: told about every step.
        rounds: how often original and narrow model are measured in turn.
        repeats: of each measurement.

    Raises:
        SpeedError: a measurement failed.
    """
    settings = settle(
        BenchSettings(
            engine=engine,
            scenarios=("latency",),
            input_tokens=SPEED_TOKENS[0],
            output_tokens=SPEED_TOKENS[1],
            batch_sizes=(1,),
            rounds=rounds,
            repeats=repeats,
            seed=setting.seed,
        )
    )
    narrow = _narrowed(setting, candidate, builds, progress)
    predicted = _predicted(setting, candidate, engine)
    work = builds / engine
    models = prepare([setting.model, str(narrow)], settings, work, progress)
    measure = (VllmOffline if engine == "vllm" else LocalEngine)(settings, work)
    measure.check(models)
    by_name = {model.name: model for model in models}
    planned = turns(list(by_name), settings)
    progress.begin(f"measure on {engine}", len(planned))
    found: dict[str, list[Measurement]] = {name: [] for name in by_name}
    for turn in planned:
        found[turn.model] += measure.measure(by_name[turn.model], turn)
        progress.advance()
    original, other = ([_value(each) for each in found[model.name]] for model in models)
    speedup = compare_pairs(original, other, higher_is_better=False)
    busy = [each.busy_elsewhere or 0.0 for each in (*found[models[0].name], *found[models[1].name])]
    return {
        "candidate": list(candidate),
        "predicted": predicted,
        "measured": speedup.speedup,
        "low": speedup.low,
        "high": speedup.high,
        "original_seconds": median(original),
        "narrow_seconds": median(other),
        "rounds": rounds,
        "dtype": settings.dtype,
        "busy_elsewhere": max(busy),
    }


def _value(measurement: Measurement) -> float:
    if measurement.status != "ok":
        raise SpeedError(f"{measurement.model}: {measurement.status}: {measurement.error}")
    return median(measurement.samples[METRIC])


def _predicted(setting: Setting, candidate: Candidate, engine: Engine) -> float:
    opened = open_model(setting.model)
    budget = Budget(decode_speedup=2.0, context=CONTEXT_TOKENS)  # any: what it asks for does not count
    asked = PlanSettings(budget=budget, base=setting.widthless(), engine=engine, effort="quick")
    predictor = predictor_of(opened, axes_of(opened.config, opened.family), asked)
    speedup = predictor.predict(candidate).decode_speedup
    assert speedup is not None
    return speedup


def _narrowed(setting: Setting, candidate: Candidate, builds: Path, progress: Progress) -> Path:
    path = builds / "models" / "-".join(map(str, candidate))
    if not (path / manifest.MANIFEST_NAME).is_file():
        opened = open_model(setting.model)
        own = axes_of(opened.config, opened.family).dense
        plain = replace(setting.widthless(), calibration_windows=4, compensate="none", effort=None)
        path.parent.mkdir(parents=True, exist_ok=True)
        save(compress(opened.load(), config_of(candidate, own, plain), progress=progress), path)
    return path
