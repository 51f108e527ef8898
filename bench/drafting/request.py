"""What the process that decodes with a draft is asked, and what it answers."""

from dataclasses import dataclass, field
from typing import NamedTuple

from ..record.draft_records import DraftCounts
from ..record.settings import BenchSettings

__all__ = ["Decoded", "SpeculativeAnswer", "SpeculativeRequest"]


@dataclass(frozen=True, kw_only=True)
class SpeculativeRequest:
    """What to measure."""

    directory: str
    draft_directory: str | None  # None: the model alone
    draft_tokens: int
    context_tokens: int
    prompts: list[list[int]]
    settings: BenchSettings


@dataclass(kw_only=True)
class SpeculativeAnswer:
    """What was measured."""

    samples: dict[str, list[float]] = field(default_factory=dict)
    tokens: list[list[int]] = field(default_factory=list)  # of each prompt
    draft: DraftCounts | None = None


class Decoded(NamedTuple):
    """One answer."""

    tokens: list[int]
    decode_seconds: float  # from the first token to the last
