"""Does the endpoint say what the model said when it was made? Asked before anyone else may ask.

An engine can load a checkpoint wrongly and still answer: vLLM 0.32, for one, reads an MLP of 128 neurons
into a config that says 96 without a word. The reference that travels with a checkpoint shows it.
"""

from dataclasses import dataclass

from ...errors import EngineError, VerificationError
from ...export.contract.reference import PromptReference, Reference
from .streaming import Client, Sampling

__all__ = ["GreedyCheck", "check_greedy", "near_tie_logits"]

# A token that differs from the reference is a miss only if the reference preferred its own by more than
# this: engines sum in different orders, and a rounded logit may overtake one that was nearly equal.
# Rounding: float32 logits agree to about 1e-3; a bfloat16 logit near 20 is a multiple of 1/8, and several
# roundings add up on the way; quantised weights move logits themselves.
NEAR_TIE_LOGITS = {"float32": 0.02, "float16": 0.15, "bfloat16": 0.75}
NEAR_TIE_QUANTISED_LOGITS = {"int8": 1.0, "w8a16": 1.0, "fp8": 1.5, "w8a8": 1.5, "int4": 4.0, "w4a16": 4.0}
COARSEST_NEAR_TIE_LOGITS = 4.0


@dataclass(frozen=True, kw_only=True)
class GreedyCheck:
    """What was compared. A prompt's comparison ends at its first near-tie that fell the other way."""

    prompts: int
    compared_tokens: int
    reference_tokens: int
    near_ties: int

    def __str__(self) -> str:
        ties = f", {self.near_ties} near-ties fell the other way" if self.near_ties else ""
        return (
            f"greedy tokens equal the reference: {self.compared_tokens} of {self.reference_tokens} "
            f"compared over {self.prompts} prompts{ties}"
        )


def near_tie_logits(precision: str, dtype: str) -> float:
    """Largest margin, in logits, that rounding may overturn.

    Args:
        precision: Of the stored weights, as the manifest names it.
        dtype: That the engine computes in; "auto" when the engine decides.
    """
    if precision in NEAR_TIE_QUANTISED_LOGITS:
        return NEAR_TIE_QUANTISED_LOGITS[precision]
    if precision not in NEAR_TIE_LOGITS and precision not in ("fp32", "fp16", "bf16"):
        return COARSEST_NEAR_TIE_LOGITS
    stored = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}.get(precision, precision)
    computed = "bfloat16" if dtype == "auto" else dtype
    return max(NEAR_TIE_LOGITS[stored], NEAR_TIE_LOGITS[computed])


async def check_greedy(
    client: Client, model: str, reference: Reference, threshold_logits: float
) -> GreedyCheck:
    """Continue every reference prompt greedily and compare the tokens.

    Raises:
        EngineError: A request failed.
        VerificationError: A token differs where the reference was sure.
    """
    compared = ties = 0
    for prompt in reference.prompts:
        sampling = Sampling(max_tokens=len(prompt.greedy_token_ids), ignore_eos=True)
        record = await client.complete(prompt.token_ids, model=model, sampling=sampling)
        if not record.ok:
            raise EngineError(f"the engine did not answer a reference prompt: {record.error}")
        if record.counted_by != "token_ids":
            raise EngineError(
                "the engine sends no token ids, so its answer cannot be compared; use --no-check"
            )
        agreed, tie = _compare(prompt, record.token_ids, threshold_logits)
        compared += agreed
        ties += tie
    return GreedyCheck(
        prompts=len(reference.prompts),
        compared_tokens=compared,
        reference_tokens=sum(len(prompt.greedy_token_ids) for prompt in reference.prompts),
        near_ties=ties,
    )


def _compare(prompt: PromptReference, tokens: tuple[int, ...], threshold_logits: float) -> tuple[int, bool]:
    """How many tokens agree, and whether a near-tie ended the comparison."""
    if len(tokens) != len(prompt.greedy_token_ids):
        raise VerificationError(
            f"{len(tokens)} tokens came back for {prompt.text[:40]!r}, "
            f"expected {len(prompt.greedy_token_ids)}"
        )
    pairs = zip(tokens, prompt.greedy_token_ids, prompt.greedy_margins, strict=True)
    for position, (token, expected, margin) in enumerate(pairs):
        if token == expected:
            continue
        if margin > threshold_logits:
            raise VerificationError(
                f"token {position} after {prompt.text[:40]!r} is {token}, expected {expected}, which the "
                f"model preferred by {margin:.2f} logits (rounding explains up to {threshold_logits:g}): the "
                "engine does not run this model as it was made; make it again, or look with --no-check"
            )
        return position, True
    return len(tokens), False
