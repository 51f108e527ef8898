"""What one streamed request did: when each token arrived, what was said, and how it ended.

All times are `time.perf_counter()` readings of the client's process, in seconds: monotonic, comparable
with each other and with nothing else. Definitions are those of `vllm bench serve`:

    ttft     time to first token           first token - sent
    itl      inter-token latency           gaps between consecutive tokens
    tpot     time per output token         (last token - first token) / (tokens - 1)
    e2el     end-to-end latency            last token - sent
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

__all__ = ["Outcome", "RequestRecord", "Usage"]

Outcome = Literal[
    "ok",
    "refused",  # an HTTP status of 400 or more
    "unreachable",  # no connection
    "disconnected",  # the connection ended before the response did
    "timeout",
    "engine_error",  # the server reported an error inside the stream
    "malformed",  # the response does not follow the protocol
]


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Token counts that the server reported."""

    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, kw_only=True)
class RequestRecord:
    """One request, finished or failed; a failed one keeps what had arrived."""

    outcome: Outcome
    error: str  # one line; empty when the outcome is "ok"
    http_status: int | None
    sent_seconds: float
    ended_seconds: float
    token_seconds: tuple[float, ...]  # arrival of every token; tokens of one chunk share a time
    token_ids: tuple[int, ...]  # empty when the server does not send ids
    counted_by: Literal["token_ids", "chunks"]  # chunks: one per chunk with text, when there are no ids
    text: str
    finish_reason: str | None
    usage: Usage | None

    @property
    def ok(self) -> bool:
        """Whether the response is complete."""
        return self.outcome == "ok"

    @property
    def tokens(self) -> int:
        """Tokens that arrived."""
        return len(self.token_seconds)

    @property
    def ttft_seconds(self) -> float | None:
        """Time to first token; None when none arrived."""
        return self.token_seconds[0] - self.sent_seconds if self.token_seconds else None

    @property
    def e2el_seconds(self) -> float | None:
        """Time from sending to the last token; None when none arrived."""
        return self.token_seconds[-1] - self.sent_seconds if self.token_seconds else None

    @property
    def itl_seconds(self) -> tuple[float, ...]:
        """Gaps between consecutive tokens, `tokens - 1` of them."""
        return tuple(later - earlier for earlier, later in pairwise(self.token_seconds))

    @property
    def tpot_seconds(self) -> float | None:
        """Mean time per token after the first; None for fewer than two tokens."""
        if self.tokens < 2:
            return None
        return (self.token_seconds[-1] - self.token_seconds[0]) / (self.tokens - 1)

    @property
    def usage_agrees(self) -> bool | None:
        """Whether the server's token count equals the counted tokens; None without a server count."""
        return None if self.usage is None else self.usage.completion_tokens == self.tokens
