"""The speculative scenario in words and as a table."""

from .draft_records import SpeculativeRecord
from .report_content import Table
from .results import Comparison, Results
from .wording import MISSING, load_text, significant

__all__ = ["speculative_sentences", "speculative_table", "speculative_words"]


def speculative_table(results: Results) -> Table | None:
    """Acceptance, costs and what both predict beside what was measured; None without records."""
    if not results.speculative:
        return None
    return Table(
        caption="The draft: how often it is right, what it costs, and the speed-up that both allow",
        columns=[
            "draft",
            ">draft tokens k",
            ">acceptance a",
            ">tokens per step",
            ">expected of a",
            ">cost c",
            ">cost possible",
            ">speed-up",
            ">predicted",
            ">ceiling",
            ">fastest k",
            ">identical answers",
        ],
        rows=[_row(record, _measured(results, record)) for record in results.speculative],
        notes=[
            "Tokens per step of the original: the accepted ones and one of its own. c: a step of the draft "
            "over one of the original, each measured alone; possible: from bytes and FLOPs. Predicted and "
            "ceiling are (1 - a^(k+1)) / ((1 - a)(k c + 1)) with either cost (Leviathan et al. 2023, theorem "
            "3.8). Fastest k: by that formula with the measured cost, up to 16; 0 means that no draft helps.",
        ],
    )


def _row(record: SpeculativeRecord, comparison: Comparison | None) -> list[str]:
    return [
        record.model,
        str(record.draft_tokens),
        _number(record.acceptance),
        _number(record.tokens_per_step),
        _number(record.expected_tokens_per_step),
        _number(record.cost_ratio),
        _number(record.cost_ratio_possible),
        MISSING if comparison is None else f"{comparison.speedup:.2f}x",
        *(
            MISSING if value is None else f"{value:.2f}x"
            for value in (record.predicted_speedup, record.ceiling)
        ),
        MISSING if record.best_draft_tokens is None else str(record.best_draft_tokens),
        f"{record.identical_prompts} of {record.prompts}",
    ]


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
            if record.model == name and (comparison := _measured(results, record)) is not None
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


def _measured(results: Results, record: SpeculativeRecord) -> Comparison | None:
    wanted = (record.model, "speculative", record.draft_tokens, "tpot_seconds")
    return next((c for c in results.comparisons if (c.model, c.scenario, c.load, c.metric) == wanted), None)


def _number(value: float | None) -> str:
    return MISSING if value is None else significant(value)
