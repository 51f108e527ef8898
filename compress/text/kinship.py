"""Whether a model was calibrated on a text: on the very text, on the other half of it, or on neither.

A text is known by its name and by the hash of its content. `builtin:...` and `hf:...` have two halves by
themselves; files NAME.calibration.jsonl and NAME.evaluation.jsonl (or .txt, .parquet) are two halves of NAME.
"""

import re
from typing import Literal

from ..record.report import CalibrationPart, CalibrationRecord

__all__ = ["Kinship", "kind_of", "kinship"]

Kinship = Literal["text", "kind"]
_HALF = re.compile(r"\.(?:calibration|evaluation)(?=\.[^.]+$)")


def kinship(calibration: CalibrationRecord, text: CalibrationRecord) -> Kinship | None:
    """What `text`, windows that were evaluated, is to what a model was calibrated on; None for unrelated."""
    relations = {_relation(mine, theirs) for mine in calibration.parts for theirs in text.parts}
    return "text" if "text" in relations else "kind" if "kind" in relations else None


def kind_of(name: str) -> str | None:
    """What both halves of a text are called; None for a file that is a text of its own."""
    if name.startswith(("builtin", "hf:")):
        return name
    return _HALF.sub("", name) if _HALF.search(name) else None


def _relation(mine: CalibrationPart, theirs: CalibrationPart) -> Kinship | None:
    if mine.text_sha256 is not None and mine.text_sha256 == theirs.text_sha256:
        return "text"
    if mine.text_sha256 is None and mine.name == theirs.name and kind_of(mine.name) is None:
        return "text"  # an older manifest, which knew files by their name only
    kind = kind_of(mine.name)
    return "kind" if kind is not None and kind == kind_of(theirs.name) else None
