"""The clock of one batch: when each of its steps ended."""

from dataclasses import dataclass

__all__ = ["Timed"]


@dataclass(frozen=True, kw_only=True)
class Timed:
    """One batch from prompt to last token: seconds from its start to every step's end."""

    step_seconds: list[float]  # (output_tokens,), the first is the prefill's
    kv_bytes_per_token: float | None

    @property
    def ttft_seconds(self) -> float:
        """Time to first token."""
        return self.step_seconds[0]

    @property
    def e2e_seconds(self) -> float:
        """Time to last token."""
        return self.step_seconds[-1]

    @property
    def tpot_seconds(self) -> float:
        """Mean time of a step after the first."""
        return (self.step_seconds[-1] - self.step_seconds[0]) / (len(self.step_seconds) - 1)
