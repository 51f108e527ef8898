"""How a model was made, as far as its manifest says."""

from dataclasses import dataclass

__all__ = ["Making"]


@dataclass(frozen=True, kw_only=True)
class Making:
    """From the manifest of a model that dotresize wrote. Nothing here was measured by the benchmark."""

    source: str  # what it was narrowed from
    options: dict[str, str]  # of the compression, as they were resolved
    calibration: str  # which text the fits saw
    calibration_tokens: int
    recovery: str = ""  # how it was trained afterwards; empty when it was not
    recovery_seconds: float | None = None
    verified: bool | None = None  # None: never checked
    verification: str = ""  # by what
