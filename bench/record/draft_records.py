"""What a run with drafts leaves behind: counts of one measurement, and what follows from all of them."""

from dataclasses import dataclass

__all__ = ["DraftCounts", "SpeculativeRecord"]


@dataclass(frozen=True, kw_only=True)
class DraftCounts:
    """How a draft did in one measurement."""

    drafts: int  # how often the draft was asked
    drafted_tokens: int
    accepted_per_position: list[int]  # (k,): drafts whose first, second, ... token was accepted

    @property
    def accepted_tokens(self) -> int:
        """Drafted tokens that the original said too."""
        return sum(self.accepted_per_position)


@dataclass(frozen=True, kw_only=True)
class SpeculativeRecord:
    """One narrow model as the draft of the original, all rounds together. None: not measured."""

    model: str
    draft_tokens: int  # k
    acceptance: float | None  # probability that a token is accepted, given that those before it were
    accepted_share: float | None  # of all drafted tokens
    tokens_per_step: float | None  # of the original: what was accepted, and one of its own
    expected_tokens_per_step: float | None  # that the acceptance predicts
    cost_ratio: float | None  # a step of the draft over one of the original, each alone, measured
    cost_ratio_possible: float | None  # the same from bytes and FLOPs
    predicted_speedup: float | None  # from acceptance and measured costs
    ceiling: float | None  # from acceptance and the costs that bytes and FLOPs allow
    best_draft_tokens: int | None  # that the measured costs make fastest; 0: no draft is
    prompts: int
    identical_prompts: int  # answered with the original's very tokens in every round
