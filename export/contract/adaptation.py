"""What an adapter belongs to and what it does, as the manifest keeps it."""

from dataclasses import dataclass

from ...compress.record.report import CalibrationRecord

__all__ = ["Adaptation"]


@dataclass(frozen=True, kw_only=True)
class Adaptation:
    """Lineage and measure of an adapter."""

    base: str  # what it is added to, as the user named it
    base_sha256: str  # of its weights
    teacher: str
    teacher_sha256: str
    rank: int
    matrices: int  # that it adds to
    calibration: CalibrationRecord  # held-out windows included
    held_out_windows: int
    held_out_kl_before: float  # nats per token, KL(teacher || base)
    held_out_kl: float  # with the adapter
