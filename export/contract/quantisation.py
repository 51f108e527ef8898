"""How the weights of an export got onto their grid."""

from dataclasses import dataclass

from ...compress.record.report import CalibrationRecord

__all__ = ["Quantisation"]


@dataclass(frozen=True, kw_only=True)
class Quantisation:
    """Kept in the manifest, so that another export can repeat it."""

    rounding: str  # "nearest" or "calibrated"
    group_size: int | None  # weights per scale; None: a row
    calibration: CalibrationRecord | None  # None: the nearest codes, whatever a text says
