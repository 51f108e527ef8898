"""What a recovery did, as the manifest keeps it.

Unlike the rest of a manifest it holds seconds: how much was won in how much time is what it is for.
"""

from dataclasses import dataclass
from typing import Any

__all__ = ["CurvePoint", "Recovery", "RecoveryText"]


@dataclass(frozen=True, kw_only=True)
class RecoveryText:
    """A text that was trained on."""

    name: str
    windows: int
    held_out_windows: int


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """One evaluation."""

    step: int
    tokens: int
    seconds: float  # of training, over all runs so far
    loss: float | None  # mean over the steps since the last point; None at the start
    held_out_kl: dict[str, float]  # text -> nats per token
    score: float  # mean over texts of the divergence relative to the start's


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """Lineage and course of a recovery."""

    parent_sha256: str  # of the weights that it started from
    parent_manifest_sha256: str | None  # None when the start was not written by dotresize
    teacher: str
    teacher_sha256: str
    config: dict[str, Any]  # RecoverConfig, effective values
    texts: tuple[RecoveryText, ...]
    best_step: int  # 0: nothing was better than the start, whose weights these are
    stopped_by: str | None  # "patience", "SIGTERM", or None for all steps
    curve: tuple[CurvePoint, ...]
