"""What a compression did and what it took, from what it was made of."""

import resource

import torch

from .identity import versions
from .record.config import Settings
from .record.progress import Stopwatch
from .record.report import BlockFit, Cost, Report
from .text.calibration import Windows
from .weights.dense import Dense
from .widths.plan import Plan
from .widths.sizes import count_sizes

__all__ = ["cost_of", "report_of"]


def report_of(
    dense: Dense,
    plan: Plan,
    config: Settings,
    windows: Windows,
    fits: tuple[BlockFit, ...],
    dtype: torch.dtype,
) -> Report:
    """The record of a compression that has been done."""
    notes = list(plan.notes)
    if config.calibration_windows is None and windows.record.windows < 128:
        held = f"the calibration text holds {windows.available} windows, all were used"
        scarce = f"the calibration texts allow {windows.record.windows} windows at these shares"
        notes.append(held if len(windows.record.parts) == 1 else scarce)
    if plan.dense_tied and not plan.narrow_config.tie_word_embeddings:
        notes.append("the head was tied to the embedding; it is stored on its own now")
    return Report(
        source=dense.source,
        config=config.to_dict(),
        dense=plan.dense,
        narrow=plan.narrow,
        kept_layers=plan.kept_layers if plan.drops_layers else None,
        dense_counts=count_sizes(dense.config, dense.family, dtype),
        narrow_counts=count_sizes(plan.narrow_config, plan.narrow_family, dtype),
        calibration=windows.record,
        fits=fits,
        notes=tuple(notes),
        versions=versions(),
    )


def cost_of(watch: Stopwatch, device: torch.device) -> Cost:
    """What it took so far, whole process."""
    return Cost(
        seconds=watch.seconds,
        peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        peak_device_memory_bytes=torch.cuda.max_memory_allocated() if device.type == "cuda" else None,
        device=torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
    )
