"""The manifest of a model directory -> how the model was made."""

from pathlib import Path

from ...export.artefact_info import inspect_artefact
from ...export.contract.manifest import read_if_any
from ..record.making import Making

__all__ = ["making_of"]


def making_of(directory: Path) -> Making | None:
    """How a directory was made; None for a model that dotresize did not narrow.

    Raises:
        ManifestError: its manifest is damaged.
    """
    record = read_if_any(directory)
    if record is None or record.report is None:
        return None
    report, recovery = record.report, record.recovery
    trained, seconds = "", None
    if recovery is not None:
        best = next(point for point in recovery.curve if point.step == recovery.best_step)
        seconds = recovery.curve[-1].seconds
        trained = f"{recovery.config['train']} from {recovery.teacher}, {best.tokens:,} tokens kept"
    seen = report.calibration
    return Making(
        source=report.source.name,
        options={name: str(value) for name, value in sorted(report.config.items()) if value is not None},
        calibration=f"{seen.windows} windows of {seen.window_tokens:,} tokens of {seen.name}",
        calibration_tokens=seen.tokens,
        recovery=trained,
        recovery_seconds=seconds,
        verified=record.verified,
        verification=inspect_artefact(directory).verification,
    )
