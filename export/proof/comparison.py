"""Logits of a runtime against the reference: numbers first, then a judgement by written limits.

Shapes: T prompt tokens, V vocabulary, S greedy steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..contract.reference import PromptReference, Reference

__all__ = ["GreedyAgreement", "LogitDistance", "Limits", "compare_greedy", "compare_logits", "limits_for"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How far a runtime may be from the reference."""

    max_abs_error: float | None  # on logits; None where rounding of weights makes single logits meaningless
    mean_kl: float  # nats per position
    top1_agreement: float  # fraction of positions
    near_tie: float | None  # logits closer than this may swap places; None: greedy tokens are not judged


# Every limit was set from measurements of SmolLM2-135M, dense and narrowed (513 hidden, 1152 MLP), given as
# "measured", with room for other models and machines. A model of 135 M parameters suffers more from rounding
# than larger ones do.
_FLOAT32 = Limits(max_abs_error=1e-2, mean_kl=1e-6, top1_agreement=1.0, near_tie=1e-2)
_FLOAT16 = Limits(max_abs_error=0.5, mean_kl=1e-4, top1_agreement=0.98, near_tie=0.1)
_BFLOAT16 = Limits(max_abs_error=4.0, mean_kl=1e-2, top1_agreement=0.9, near_tie=0.5)
_EIGHT_BIT = Limits(max_abs_error=None, mean_kl=5e-2, top1_agreement=0.85, near_tie=None)
_EIGHT_BIT_SUMS = Limits(max_abs_error=None, mean_kl=0.15, top1_agreement=0.8, near_tie=None)
_SIX_BIT = Limits(max_abs_error=None, mean_kl=0.15, top1_agreement=0.8, near_tie=None)
_FIVE_BIT = Limits(max_abs_error=None, mean_kl=0.4, top1_agreement=0.7, near_tie=None)
_FOUR_BIT = Limits(max_abs_error=None, mean_kl=1.0, top1_agreement=0.4, near_tie=None)
_TWO_BIT = Limits(max_abs_error=None, mean_kl=2.0, top1_agreement=0.25, near_tie=None)


def _of_both(*types: str) -> tuple[str, ...]:
    """GGUF types read by transformers, and by llama.cpp."""
    return tuple(name for each in types for name in (each, f"llama.cpp {each}"))


_LIMITS = {
    # The same float32 weights through other kernels: only the order of sums differs. Measured 1e-4 and 3e-11.
    **dict.fromkeys(("float32", "fp32", "f32"), _FLOAT32),
    # Weights (and on a GPU sums) with an 11-bit mantissa: relative 5e-4 each. llama.cpp keeps its KV cache in
    # float16 even with float32 weights. Measured 0.06 and 9e-6 with float16 weights, 0.03 and 7e-7 without.
    **dict.fromkeys(("float16", "fp16", "f16", "llama.cpp f32", "llama.cpp f16"), _FLOAT16),
    # Weights with an 8-bit mantissa: relative 4e-3 each, eight times float16; KL grows with the square.
    **dict.fromkeys(("bfloat16", "bf16", "llama.cpp bf16"), _BFLOAT16),
    # Eight-bit weights in blocks of 32. Single logits say little, the distribution stays. Measured KL: int8
    # ONNX 0.006, q8_0 0.002 in transformers and 0.003 in llama.cpp.
    **dict.fromkeys(("int8", "w8a16", "q8_0", "llama.cpp q8_0"), _EIGHT_BIT),
    # One scale per output row, activations rounded to eight bits too, bfloat16 around it: vLLM's fast path.
    # Measured KL: w8a8 0.052.
    **dict.fromkeys(("fp8", "w8a8"), _EIGHT_BIT_SUMS),
    # Four-bit weights move every weight by up to 7 % of the largest of its block: the text stays sensible,
    # the tokens change. Measured KL and top-1: int4 ONNX 0.33 and 0.71 dense, 0.37 and 0.61 narrowed; w4a16
    # 0.65 and 0.61, calibrated 0.32 and 0.77; q4_1 0.05 and 0.94. A scrambled matrix gives several nats.
    **dict.fromkeys(("int4", "w4a16", "q4_0", "q4_1", "llama.cpp q4_0", "llama.cpp q4_1"), _FOUR_BIT),
    # llama.cpp's mixtures, of SmolLM2 dense, whose 576 blocks of 256 do not divide: most matrices are of the
    # next type with blocks of 32. Other widths lose more, so the limits are those of the bits in the name.
    # Measured KL and top-1 in transformers, then in llama.cpp: q6_k 0.011 and 0.99, 0.018 and 0.96; q5_k_m
    # 0.074 and 0.90, 0.081 and 0.89; q4_k_m 0.058 and 0.87, 0.070 and 0.89, calibrated 0.033 and 0.94, 0.035
    # and 0.92; q4_k_s 0.069 and 0.94, 0.071 and 0.92; iq4_xs 0.225 and 0.79, 0.242 and 0.81; q3_k_m 0.113
    # and 0.87, 0.121 and 0.85; q2_k 0.451 and 0.72, 0.452 and 0.73.
    **dict.fromkeys(_of_both("q6_k"), _SIX_BIT),
    **dict.fromkeys(_of_both("q5_k_m"), _FIVE_BIT),
    **dict.fromkeys(_of_both("q4_k_s", "q4_k_m", "iq4_xs", "q3_k_m"), _FOUR_BIT),
    **dict.fromkeys(_of_both("q2_k"), _TWO_BIT),
}


def limits_for(precision: str) -> Limits:
    """Limits for a runtime that computes in `precision`, or whose weights are stored in it.

    Args:
        precision: As the manifest names it; `q8_0+f16` (some tensors fall back) has the limits of `q8_0`.
    """
    return _LIMITS[precision.split("+")[0]]


@dataclass(frozen=True, kw_only=True)
class LogitDistance:
    """Distance between two sets of logits, over all positions of all prompts."""

    positions: int
    max_abs_error: float  # NaN-free: a value that is not finite counts as infinite
    mean_kl: float  # nats, KL(reference || runtime)
    top1_agreement: float  # fraction of positions; near ties count as agreeing


def compare_logits(
    reference: Reference,
    logits: Sequence[NDArray[np.float32]],
    *,
    near_tie: float,
    log_probabilities: bool = False,
) -> LogitDistance:
    """Compare the logits of every prompt position, summed in float64.

    Args:
        reference: What the model said in memory.
        logits: Per prompt ``(T, V)``.
        near_tie: The best token may differ where the reference has it closer than this to its own best.
        log_probabilities: `logits` holds log-probabilities and may lack the last position, ``(T - 1, V)``:
            that is what vLLM reports. The error is then between log-probabilities.
    """
    errors, kls, agreements = [], [], []
    for prompt, found in zip(reference.prompts, logits, strict=True):
        rows = len(found) if log_probabilities else len(prompt.logits)
        expected = prompt.logits[:rows].astype(np.float64)
        if found.shape != expected.shape or not np.isfinite(found).all():
            return LogitDistance(positions=0, max_abs_error=np.inf, mean_kl=np.inf, top1_agreement=0.0)
        actual = found.astype(np.float64)
        log_p, log_q = _log_softmax(expected), _log_softmax(actual)
        pair = (log_p, log_q) if log_probabilities else (expected, actual)
        errors.append(np.abs(pair[0] - pair[1]).max(axis=-1, initial=0.0))  # (T,)
        kls.append((np.exp(log_p) * (log_p - log_q)).sum(axis=-1))  # (T,)
        agreements.append(_agrees(expected, actual, near_tie))  # (T,)
    return LogitDistance(
        positions=sum(len(part) for part in errors),
        max_abs_error=float(np.concatenate(errors).max()),
        mean_kl=float(np.concatenate(kls).mean()),
        top1_agreement=float(np.concatenate(agreements).mean()),
    )


def _agrees(expected: NDArray[np.float64], actual: NDArray[np.float64], near_tie: float) -> NDArray[np.bool_]:
    """Whether the runtime's best token is the reference's best, or within `near_tie` of it. ``(T,)``."""
    chosen = np.take_along_axis(expected, actual.argmax(axis=-1)[:, None], axis=-1)[:, 0]  # (T,)
    return np.asarray(expected.max(axis=-1) - chosen <= near_tie)


def _log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


@dataclass(frozen=True, kw_only=True)
class GreedyAgreement:
    """How far the greedy continuations agree."""

    compared_tokens: int
    agreeing_tokens: int
    near_ties: tuple[str, ...]  # first differences that the reference itself calls a near tie
    misses: tuple[str, ...]  # first differences that it does not


def compare_greedy(
    reference: Reference, token_ids: Sequence[Sequence[int]], *, near_tie: float
) -> GreedyAgreement:
    """Compare greedy tokens up to the first difference of each prompt: after it the texts differ anyway.

    A first difference where the reference's two best logits are closer than `near_tie` is a tie that
    rounding may break either way; any other is a miss.
    """
    compared = agreeing = 0
    near_ties: list[str] = []
    misses: list[str] = []
    for index, (prompt, found) in enumerate(zip(reference.prompts, token_ids, strict=True)):
        step = _first_difference(prompt, found)
        agreeing += step if step is not None else len(prompt.greedy_token_ids)
        compared += step + 1 if step is not None else len(prompt.greedy_token_ids)
        if step is None:
            continue
        margin = prompt.greedy_margins[step]
        got = found[step] if step < len(found) else "nothing"
        line = (
            f"prompt {index + 1}, step {step + 1}: token {got}, expected {prompt.greedy_token_ids[step]} "
            f"(margin {margin:.4g} logits)"
        )
        (near_ties if margin < near_tie and step < len(found) else misses).append(line)
    return GreedyAgreement(
        compared_tokens=compared, agreeing_tokens=agreeing, near_ties=tuple(near_ties), misses=tuple(misses)
    )


def _first_difference(prompt: PromptReference, found: Sequence[int]) -> int | None:
    for step, expected in enumerate(prompt.greedy_token_ids):
        if step >= len(found) or found[step] != expected:
            return step
    return None
