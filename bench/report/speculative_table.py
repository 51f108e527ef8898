"""The speculative scenario as a table."""

from ..judge.speculative_words import measured
from ..judge.wording import MISSING, significant
from ..record.draft_records import SpeculativeRecord
from ..record.results import Comparison, Results
from .content import Table

__all__ = ["speculative_table"]


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
        rows=[_row(record, measured(results, record)) for record in results.speculative],
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


def _number(value: float | None) -> str:
    return MISSING if value is None else significant(value)
