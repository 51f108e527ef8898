"""PURE. The speculative scenario in words: what a draft gained, and if the answers are the original's."""

from ..record.draft_records import SpeculativeRecord
from ..record.results import Comparison, Results
from .wording import load_text

__all__ = ["measured", "speculative_sentences", "speculative_words"]


def speculative_words(results: Results) -> list[str]:
    """Is the answer the original's? What the counts prove, and where rounding may come in."""
    records = results.speculative
    if not records:
        return []
    prompts = sum(record.prompts for record in records)
    identical = sum(record.identical_prompts for record in records)
    if identical == prompts:
        proof = (
            "Greedy answers were compared token by token with those of the original alone: all "
            f"{prompts} are identical."
        )
    else:
        proof = (
            f"Greedy answers were compared token by token with those of the original alone: {identical} of "
            f"{prompts} are identical. Checking several tokens at once rounds otherwise than one by one, so "
            f"that two tokens of almost the same logit can change places in {results.settings.dtype}; "
            "--dtype float32 leaves least room for that."
        )
    return [proof]


def speculative_sentences(results: Results) -> list[str]:
    """One sentence per draft, at the number of draft tokens that was fastest."""
    found = []
    for name in dict.fromkeys(record.model for record in results.speculative):
        timed = [
            (comparison.speedup, record, comparison)
            for record in results.speculative
            if record.model == name and (comparison := measured(results, record)) is not None
        ]
        if timed:
            _, record, comparison = max(timed, key=lambda each: each[0])
            found.append(_sentence(results.models[0].name, record, comparison))
    return found


def _sentence(original: str, record: SpeculativeRecord, comparison: Comparison) -> str:
    interval = ""
    if comparison.low is not None and comparison.high is not None:
        interval = f" (95 % interval {comparison.low:.2f} to {comparison.high:.2f}, {comparison.verdict})"
    share = "" if record.accepted_share is None else f", {record.accepted_share:.0%} of its tokens accepted"
    same = f"{record.identical_prompts} of {record.prompts} greedy answers identical"
    return (
        f"{original} with {record.model} as its draft: {comparison.speedup:.2f}x decode speed at "
        f"{load_text('speculative', record.draft_tokens)}{interval}{share.replace('%', ' %')}, {same}."
    )


def measured(results: Results, record: SpeculativeRecord) -> Comparison | None:
    """The paired comparison of decode speed at the record's load; None when it was not measured."""
    wanted = (record.model, "speculative", record.draft_tokens, "tpot_seconds")
    return next((c for c in results.comparisons if (c.model, c.scenario, c.load, c.metric) == wanted), None)
