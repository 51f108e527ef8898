"""Decodes prompts in turn, with a draft or without.

    python -m dotresize.bench.drafting.worker REQUEST REPLY

REQUEST and REPLY are JSON files (`SpeculativeRequest`, `SpeculativeAnswer`). One process per
measurement, as for all other scenarios. Decoding is greedy and never stops early, so every run computes
as many tokens.
"""

from time import perf_counter
from typing import Protocol

from ..process.child_call import answer
from ..record.draft_records import DraftCounts
from .request import Decoded, SpeculativeAnswer, SpeculativeRequest


class Decoder(Protocol):
    """A loaded model with its draft."""

    def __init__(self, request: SpeculativeRequest) -> None: ...

    def decode(self, prompt: list[int]) -> Decoded:
        """The greedy answer to a prompt."""
        ...

    def counts(self) -> DraftCounts | None:
        """What the draft did since the model was loaded; None without a draft."""
        ...


def work(request: SpeculativeRequest) -> SpeculativeAnswer:
    """Warm up, then decode every prompt and count what the draft did."""
    decoder = _decoder(request)
    output_tokens = request.settings.output_tokens
    for _ in range(request.settings.warmup):
        decoder.decode(request.prompts[0])
    before = decoder.counts()
    reply, all_seconds = SpeculativeAnswer(), 0.0
    each: dict[str, list[float]] = {"ttft_seconds": [], "tpot_seconds": [], "e2e_seconds": []}
    for prompt in request.prompts:
        started = perf_counter()
        decoded = decoder.decode(prompt)
        seconds = perf_counter() - started
        all_seconds += seconds
        each["e2e_seconds"].append(seconds)
        each["ttft_seconds"].append(seconds - decoded.decode_seconds)
        each["tpot_seconds"].append(decoded.decode_seconds / (output_tokens - 1))
        reply.tokens.append(decoded.tokens)
    rate = sum(map(len, reply.tokens)) / all_seconds
    reply.samples = each | {"output_tokens_per_second": [rate]}
    reply.draft = _difference(decoder.counts(), before)
    return reply


def _difference(after: DraftCounts | None, before: DraftCounts | None) -> DraftCounts | None:
    if after is None or before is None:
        return None
    return DraftCounts(
        drafts=after.drafts - before.drafts,
        drafted_tokens=after.drafted_tokens - before.drafted_tokens,
        accepted_per_position=[
            late - early
            for late, early in zip(after.accepted_per_position, before.accepted_per_position, strict=True)
        ],
    )


def _decoder(request: SpeculativeRequest) -> Decoder:
    if request.settings.engine == "vllm":
        from .vllm_decoder import VllmDecoder

        return VllmDecoder(request)
    from .transformers_decoder import TransformersDecoder

    return TransformersDecoder(request)


if __name__ == "__main__":
    answer(SpeculativeRequest, work)
