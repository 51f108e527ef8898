"""A comparison and its limits -> one `Check` for the manifest."""

from collections.abc import Sequence

from ..contract.manifest import Check
from ..contract.reference import Reference
from .comparison import GreedyAgreement, Limits, LogitDistance, compare_greedy
from .runner import RunnerOutput

__all__ = ["greedy_check", "keys_check", "logits_check", "not_run", "tokenizer_check"]

Measured = dict[str, float | int | str]
Bounds = dict[str, float | int]


def not_run(runtime: str, error: Exception) -> Check:
    """A runtime that could not open or run the artefact."""
    return Check(
        name="loads and runs", runtime=runtime, measured={}, limits={}, passed=False, note=str(error)
    )


def keys_check(output: RunnerOutput) -> Check:
    """Transformers found every tensor that it looked for, and no other."""
    found = {word: output.result[f"{word}_keys"] for word in ("missing", "unexpected")}
    note = "; ".join(f"{word} {', '.join(keys[:3])}" for word, keys in found.items() if keys)
    measured: Measured = {word: len(keys) for word, keys in found.items()}
    return Check(
        name="weights", runtime=output.runtime, measured=measured, limits={}, passed=not note, note=note
    )


def tokenizer_check(expected: Reference, output: RunnerOutput) -> Check:
    """The runtime's tokenizer gives the token ids that the reference was made with."""
    pairs = zip(expected.prompts, output.result["token_ids"], strict=True)
    wrong = [str(index + 1) for index, (prompt, found) in enumerate(pairs) if list(prompt.token_ids) != found]
    note = f"other token ids for prompt {', '.join(wrong)}" if wrong else ""
    measured: Measured = {"prompts": len(expected.prompts), "differing": len(wrong)}
    return Check(
        name="tokenizer", runtime=output.runtime, measured=measured, limits={}, passed=not wrong, note=note
    )


def logits_check(
    runtime: str, distance: LogitDistance, limits: Limits, *, log_probabilities: bool = False
) -> Check:
    """Judge a distance by its limits."""
    name = "log-probabilities" if log_probabilities else "logits"
    measured: Measured = {"positions": distance.positions}
    if distance.positions == 0:
        note = "shapes differ from the reference, or values are not finite"
        return Check(name=name, runtime=runtime, measured=measured, limits={}, passed=False, note=note)
    measured |= {
        "max_abs_error": distance.max_abs_error,
        "mean_kl": distance.mean_kl,
        "top1_agreement": distance.top1_agreement,
    }
    bounds: Bounds = {"mean_kl": limits.mean_kl, "top1_agreement": limits.top1_agreement}
    if limits.max_abs_error is not None:
        bounds["max_abs_error"] = limits.max_abs_error
    misses = [key for key, bound in bounds.items() if not _within(key, getattr(distance, key), bound)]
    note = f"beyond the limit: {', '.join(misses)}" if misses else ""
    return Check(name=name, runtime=runtime, measured=measured, limits=bounds, passed=not misses, note=note)


def _within(key: str, value: float, bound: float) -> bool:
    return value >= bound if key == "top1_agreement" else value <= bound


def greedy_check(
    expected: Reference, output: RunnerOutput, limits: Limits, *, against: str = "the reference"
) -> Check:
    """Judge greedy tokens; where the limits name no near tie, they are counted and not judged."""
    tokens: Sequence[Sequence[int]] = output.result["greedy_token_ids"]
    found: GreedyAgreement = compare_greedy(expected, tokens, near_tie=limits.near_tie or 0.0)
    measured: Measured = {"compared": found.compared_tokens, "agreeing": found.agreeing_tokens}
    if limits.near_tie is None:
        note = "counted, not judged: at this precision another good token may win"
        return Check(
            name="greedy tokens", runtime=output.runtime, measured=measured, limits={}, passed=True, note=note
        )
    lines = [*found.misses, *(f"near tie, tolerated: {line}" for line in found.near_ties)]
    return Check(
        name="greedy tokens" if against == "the reference" else f"greedy tokens against {against}",
        runtime=output.runtime,
        measured=measured,
        limits={"near_tie": limits.near_tie},
        passed=not found.misses,
        note="; ".join(lines),
    )
