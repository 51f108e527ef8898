"""How the weights of an export got onto their grid."""

from dataclasses import dataclass, field

from ...compress.record.report import CalibrationRecord

__all__ = ["Quantisation"]


@dataclass(frozen=True, kw_only=True)
class Quantisation:
    """Kept in the manifest, so that another export can repeat it."""

    rounding: str  # "nearest" or "calibrated"
    group_size: int | None  # weights per scale; None: a row, or what a GGUF type has
    calibration: CalibrationRecord | None  # None: the nearest codes, whatever a text says
    # GGUF type -> matrices that llama.cpp stored in it, as blocks of the wanted one do not divide their rows
    fallbacks: dict[str, int] = field(default_factory=dict)
