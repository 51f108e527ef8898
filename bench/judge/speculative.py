"""PURE. What a draft is worth: acceptance, the speed-up that it allows, and if the answer is the original's.

The draft proposes k tokens, the original checks them in one pass and adds one of its own. With a, the chance
that a proposed token is accepted, and c, the time of a draft's step over one of the original's (Leviathan,
Kalman and Matias, Fast Inference from Transformers via Speculative Decoding, ICML 2023, arXiv:2211.17192,
equation 1 and theorem 3.8):

    tokens per step = (1 - a^(k+1)) / (1 - a)
    speed-up        = tokens per step / (k c + 1)

This takes the chances as independent and a check of k + 1 tokens as cheap as one step, which a processor that
is bound by computing does not give: a ceiling. Where a is not above c, no k helps (corollary 3.9).
"""

from collections.abc import Iterable, Sequence

from ..record.draft_records import DraftCounts, SpeculativeRecord
from ..record.results import Comparison, Measurement, Results
from ..roofline.ceiling import predicted_seconds

__all__ = [
    "acceptance_of",
    "best_draft_tokens",
    "expected_speedup",
    "expected_tokens",
    "replayed",
    "speculative_records",
]

MOST_DRAFT_TOKENS = 16  # looked at when the best number is sought
METRIC = "tpot_seconds"


def expected_tokens(acceptance: float, draft_tokens: int) -> float:
    """Tokens per step of the original.

    Args:
        acceptance: a, from 0 to 1.
        draft_tokens: k, at least 0.
    """
    return sum(acceptance**place for place in range(draft_tokens + 1))  # the quotient, also at a = 1


def expected_speedup(acceptance: float, draft_tokens: int, cost_ratio: float) -> float:
    """How much faster than the original alone; see the top.

    Args:
        acceptance: a, from 0 to 1.
        draft_tokens: k, at least 0.
        cost_ratio: c, above 0.
    """
    return expected_tokens(acceptance, draft_tokens) / (draft_tokens * cost_ratio + 1)


def best_draft_tokens(acceptance: float, cost_ratio: float) -> int:
    """The k that is fastest, 0 where none is faster than the original alone."""
    return max(range(MOST_DRAFT_TOKENS + 1), key=lambda k: (expected_speedup(acceptance, k, cost_ratio), -k))


def acceptance_of(counts: Iterable[DraftCounts]) -> float | None:
    """Accepted over examined tokens: of each draft those up to the first refused one. None without any."""
    accepted = examined = 0
    for each in counts:
        positions = each.accepted_per_position
        accepted += sum(positions)
        examined += sum([each.drafts, *positions][: len(positions)])
    return accepted / examined if examined else None


def replayed(right: Sequence[bool], draft_tokens: int) -> DraftCounts:
    """What greedy drafting of k tokens would count on an answer of the original.

    Args:
        right: for each token, whether the draft says it too when it has read all before it.
        draft_tokens: k, at least 1.
    """
    accepted, drafts, place = [0] * draft_tokens, 0, 0
    while place < len(right):
        following = right[place : place + draft_tokens]
        run = following.index(False) if False in following else len(following)
        for position in range(run):
            accepted[position] += 1
        drafts += 1
        place += run + 1  # and one token of the original's own
    return DraftCounts(drafts=drafts, drafted_tokens=drafts * draft_tokens, accepted_per_position=accepted)


def speculative_records(results: Results, comparisons: list[Comparison]) -> list[SpeculativeRecord]:
    """One record per narrow model and number of draft tokens, in the order of the run.

    Args:
        results: Its measurements and ceilings are used.
        comparisons: Those of the run, which say what a draft costs alone.
    """
    original, *narrow = [model.name for model in results.models]
    done = [m for m in results.measurements if m.scenario == "speculative" and m.status == "ok"]
    alone = {(c.model, c.metric): 1 / c.speedup for c in comparisons if _is_alone(c)}
    found = []
    for name in narrow:
        for load in sorted({m.load for m in done if m.model == name and m.load}):
            chosen = [m for m in done if (m.model, m.load) == (name, load)]
            answers = [m for m in done if m.model == original]
            costs = alone.get((name, METRIC)), _possible_cost(results, original, name)
            found.append(_record(name, load, chosen, answers, costs))
    return found


def _is_alone(comparison: Comparison) -> bool:
    return comparison.scenario == "speculative" and comparison.load == 0


def _record(
    name: str,
    load: int,
    chosen: list[Measurement],
    answers: list[Measurement],
    costs: tuple[float | None, float | None],
) -> SpeculativeRecord:
    counts = [m.draft for m in chosen if m.draft is not None]
    drafts, drafted = (sum(getattr(c, part) for c in counts) for part in ("drafts", "drafted_tokens"))
    accepted = sum(c.accepted_tokens for c in counts)
    acceptance, (measured, possible) = acceptance_of(counts), costs
    known = acceptance is not None
    prompts, identical = _identical([*answers, *chosen])
    return SpeculativeRecord(
        model=name,
        draft_tokens=load,
        acceptance=acceptance,
        accepted_share=accepted / drafted if drafted else None,
        tokens_per_step=1 + accepted / drafts if drafts else None,
        expected_tokens_per_step=expected_tokens(acceptance, load) if known else None,  # type: ignore[arg-type]
        cost_ratio=measured,
        cost_ratio_possible=possible,
        predicted_speedup=_speedup(acceptance, load, measured),
        ceiling=_speedup(acceptance, load, possible),
        best_draft_tokens=None
        if acceptance is None or not measured
        else best_draft_tokens(acceptance, measured),
        prompts=prompts,
        identical_prompts=identical,
    )


def _speedup(acceptance: float | None, load: int, cost_ratio: float | None) -> float | None:
    return None if acceptance is None or not cost_ratio else expected_speedup(acceptance, load, cost_ratio)


def _possible_cost(results: Results, original: str, narrow: str) -> float | None:
    first, second = (
        predicted_seconds(
            results.ceilings,
            model=name,
            metric=METRIC,
            batch_size=1,
            output_tokens=results.settings.output_tokens,
        )
        for name in (original, narrow)
    )
    return second / first if first and second else None


def _identical(measured: list[Measurement]) -> tuple[int, int]:
    """Prompts, and how many of them got the same tokens every time."""
    answers = [m.tokens for m in measured if m.tokens is not None]
    by_prompt = list(zip(*answers, strict=True))
    return len(by_prompt), sum(all(answer == same[0] for answer in same) for same in by_prompt)
