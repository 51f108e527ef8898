"""Rows of docs/PLAN.md: plans for a budget, and each axis alone at the same budget, narrowed and scored."""

import gc
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from dotresize.bench.quality.text_quality import measure_texts, windows_of_texts
from dotresize.compress.output.resume import WorkDirectory, work_path
from dotresize.compress.record.progress import Progress
from dotresize.compress.run import compress
from dotresize.compress.text.calibration import Windows
from dotresize.compress.weights.source import DenseModel
from dotresize.plan.axes import AXES, config_of
from dotresize.plan.hardware import Serving
from dotresize.plan.planner import plan_widths
from dotresize.plan.record import PlanRecord, Point, read_plan, write_plan
from dotresize.plan.workers import Workers

from ..shared.kept_dense import KeptDense
from .setting import PROXIED, SEARCHED, Amount, Setting

__all__ = ["measure_front", "plan_of", "point_of_row", "windows_for"]


def plan_of(
    setting: Setting,
    budget: str,
    row: str,
    amount: Amount,
    builds: Path,
    progress: Progress,
    serving: Serving | None = None,
    workers: Workers | None = None,
) -> PlanRecord:
    """The plan that a row belongs to: of an earlier call, or a new one; an interrupted search goes on.

    All plans for a speed-up are predicted by the same `serving`.
    """
    row = SEARCHED if row == SEARCHED else PROXIED  # what moves one axis is in every plan
    settings = setting.planning(budget, row, amount)
    builds.mkdir(parents=True, exist_ok=True)
    file = builds / f"{amount.name} {budget} {row}.json".replace(" ", "-")
    if file.is_file():
        record = read_plan(file)
        if record.asked == settings.hashed(setting.model):
            return record
    record, state = plan_widths(
        setting.model,
        settings,
        progress=progress,
        output=file,
        serving=serving,
        workers=workers if row == SEARCHED else None,
    )
    write_plan(record, file, force=True)
    if state is not None:
        state.discard()
    return record


def point_of_row(record: PlanRecord, row: str) -> Point | None:
    """The candidate of a row; None where nothing of its kind reaches the budget."""
    if row in (PROXIED, SEARCHED):
        return record.chosen
    return next((point for point in record.single_axes if record.moved(point) == (row,)), None)


def windows_for(setting: Setting, amount: Amount, dense: DenseModel) -> list[Windows]:
    """What rows are scored on."""
    return windows_of_texts(
        list(setting.evaluation.values()),
        dense.tokenizer,
        at_most=amount.evaluation_windows,
        window_tokens=setting.evaluation_window_tokens,
    )


def measure_front(
    setting: Setting,
    amount: Amount,
    record: PlanRecord,
    point: Point,
    dense: DenseModel,
    original: KeptDense,
    texts: list[Windows],
    builds: Path,
    progress: Progress,
) -> dict[str, Any]:
    """Narrow to the widths of a point, and score the result; an interrupted row goes on at its layer."""
    own = tuple(record.own[axis] for axis in AXES)
    config = config_of(point.candidate, own, setting.base(amount))
    with WorkDirectory(work_path(builds / "row")) as work:
        result = compress(dense, config, progress=progress, work=work)
        quality = measure_texts(
            {"dense": original, "narrow": result.model},
            texts,
            calibrations={"narrow": result.report.calibration},
            progress=progress,
        )
        work.discard()
    seconds = sum(result.cost.seconds.values())
    del result
    gc.collect()
    shown = {"point": asdict(point), "original": asdict(record.original), "evaluations": record.evaluations}
    found: dict[str, Any] = json.loads(json.dumps({**shown, "seconds": seconds, "quality": quality}))
    return found
