"""Which method keeps most quality, and where: methods x texts, with several calibrations, on one model.

Rows are measured one after the other and kept in a JSON file as they finish, so that an interrupted
benchmark goes on where it stopped. `page` makes the Markdown page from that file alone.
"""

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil

from dotresize.bench.process.memory_watch import MemoryWatch
from dotresize.bench.quality.text_quality import measure_texts, windows_of_texts
from dotresize.bench.roofline.compress_cost import forward_seconds, predicted_peak_bytes
from dotresize.compress.record.config import CompressConfig
from dotresize.compress.record.progress import Progress, Silent
from dotresize.compress.run import compress
from dotresize.compress.streams.activations import BATCH_TOKENS
from dotresize.compress.text.calibration import Windows, draw_windows
from dotresize.compress.weights.source import DenseModel, load_dense

from ..shared.kept_dense import KEPT, KeptDense
from ..shared.kept_results import load, store
from .rows import Setting, rows_at
from .texts import write_self_texts

__all__ = ["run_quality"]

TIMED_WINDOWS = 32  # of a dense pass at most; it is as long in proportion over more


def run_quality(
    setting: Setting,
    results_file: Path,
    progress: Progress | None = None,
    *,
    sources: dict[str, Any] | None = None,
    quick: bool = False,
    only: tuple[str, ...] = (),
    kept: Path = KEPT,
) -> dict[str, Any]:
    """Measure every row that the results file does not hold yet.

    Args:
        setting: what all rows share; another setting starts the file afresh.
        results_file: JSON, rewritten after each row.
        progress: told about every step.
        sources: of `domains.write_domains`, where the texts are from; kept for the page; None: not known.
        quick: see `rows_at`.
        only: see `rows_at`.
        kept: where the original's answers are, or go.

    Raises:
        InputError: a text cannot be used.
    """
    progress = progress or Silent()
    results = load(results_file, setting, "rows") | {"sources": sources or {}}
    todo = {
        label: config
        for label, config in rows_at(setting, quick=quick, only=only).items()
        if label not in results["rows"]
    }
    if not todo:
        return results
    dense = load_dense(setting.model)
    texts = windows_of_texts(
        setting.texts,
        dense.tokenizer,
        at_most=setting.evaluation_windows,
        window_tokens=setting.evaluation_window_tokens,
    )
    for label, config in todo.items():
        write_self_texts(dense, config.calibration, progress)
        results["rows"][label] = _measure(dense, KeptDense(dense, kept), config, texts, progress)
        store(results_file, results)
    return results


def _measure(
    dense: DenseModel,
    original: KeptDense,
    config: CompressConfig,
    texts: Sequence[Windows],
    progress: Progress,
) -> dict[str, Any]:
    calibration = draw_windows(
        config.calibration,
        dense.tokenizer,
        windows=config.calibration_windows,
        window_tokens=config.window_tokens,
        seed=config.seed,
    )
    timed = calibration.token_ids[:TIMED_WINDOWS]
    forward = forward_seconds(dense, timed)
    base_bytes = psutil.Process().memory_info().rss
    with MemoryWatch(os.getpid()) as watch:
        result = compress(dense, config, progress=progress)
    forward = (forward + forward_seconds(dense, timed)) / 2 * (calibration.token_ids.numel() / timed.numel())
    quality = measure_texts(
        {"dense": original, "narrow": result.model},
        texts,
        calibrations={"narrow": result.report.calibration},
        progress=progress,
    )
    counts = result.report.narrow_counts
    return {
        "quality": quality,
        "narrow_widths": asdict(result.report.narrow),
        "layer_fraction": counts.layer_parameters / result.report.dense_counts.layer_parameters,
        "total_parameters": counts.total_parameters,
        "seconds": sum(result.cost.seconds.values()),
        "forward_seconds": forward,
        "base_memory_bytes": base_bytes,
        "peak_memory_bytes": watch.report.peak_bytes,
        "predicted_peak_memory_bytes": predicted_peak_bytes(result.report, base_bytes, BATCH_TOKENS),
        "busy_elsewhere": watch.report.busy_elsewhere,
        "config": config.to_dict(),
    }
