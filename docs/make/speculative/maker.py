"""What drafts are worth on a machine that others use too.

    python -m docs.make.speculative ORIGINAL DRAFT...

The original answers a few prompts greedily; each draft reads these answers once and is right or wrong at
every token, which is all that greedy speculative decoding depends on: its steps are replayed exactly, for any
k. Costs are processor time of one thread, not time on the clock, so that other processes disturb them little.
Prints the tables of docs/SPECULATIVE.md; `dotresize bench --speculative` measures the same end to end.
"""

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor
from transformers import AutoTokenizer, DynamicCache

from dotresize.bench.judge.speculative import acceptance_of, expected_speedup, replayed
from dotresize.bench.quality.text_quality import windows_of_texts
from dotresize.compress.weights.strict_load import load_strictly

INPUT_TOKENS, OUTPUT_TOKENS, PROMPTS_PER_TEXT = 64, 48, 2
TIMED_STEPS, TIMED_CHECKS = 24, 15
DRAFT_TOKENS = (1, 2, 4)


def main() -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    original, *drafts = sys.argv[1:]
    tokenizer = AutoTokenizer.from_pretrained(original)
    texts = windows_of_texts(["builtin"], tokenizer, window_tokens=INPUT_TOKENS, at_most=PROMPTS_PER_TEXT)
    prompts = torch.cat([text.token_ids for text in texts])  # (n, t)
    model = _load(original)
    answers, seconds = [], []
    for prompt in prompts:
        answer, steps = _greedy(model, prompt, OUTPUT_TOKENS)
        answers.append(answer)
        seconds += steps
    step_seconds = median(seconds)
    checks = {k: _check(model, prompts[0], answers[0][: k + 1]) for k in (0, *DRAFT_TOKENS)}
    _say(f"original: {step_seconds * 1e3:.1f} ms of processor time per step, {len(prompts)} prompts")
    _say(", ".join(f"a check of {k + 1}: {value / checks[0]:.2f} steps" for k, value in checks.items()))
    del model
    _say("| draft | c | k | acceptance a | tokens per step | formula | with the check's cost |")
    _say("|---|---|---|---|---|---|---|")
    for path in drafts:
        draft = _load(path)
        right = [_right(draft, prompt, answer) for prompt, answer in zip(prompts, answers, strict=True)]
        cost = median(_greedy(draft, prompts[0], TIMED_STEPS)[1]) / step_seconds
        for k in DRAFT_TOKENS:
            row = _row(right, k, cost, checks[k] / checks[0])
            _say(f"| {Path(path).name} | {cost:.2f} | {k} | {row} |")


def _row(right: list[list[bool]], k: int, cost: float, check: float) -> str:
    counts = [replayed(each[1:], k) for each in right]  # the prefill gives the first token
    acceptance = acceptance_of(counts)
    assert acceptance is not None
    tokens = 1 + sum(each.accepted_tokens for each in counts) / sum(each.drafts for each in counts)
    formula = expected_speedup(acceptance, k, cost)
    return f"{acceptance:.2f} | {tokens:.2f} | {formula:.2f}x | {tokens / (k * cost + check):.2f}x"


def _load(path: str) -> Any:
    return load_strictly(Path(path), dtype=torch.float32)


@torch.inference_mode()
def _greedy(model: Any, prompt: Tensor, count: int) -> tuple[Tensor, list[float]]:
    """The answer to a prompt (t,), and the processor time of every step after the prefill."""
    cache, ids, found, seconds = DynamicCache(config=model.config), prompt[None], [], []
    for _ in range(count):
        spent, output = _timed(partial(model, ids, past_key_values=cache, logits_to_keep=1))
        ids = output.logits[:, -1:].argmax(-1)
        found.append(ids)
        seconds.append(spent)
    return torch.cat(found, 1)[0], seconds[1:]


@torch.inference_mode()
def _check(model: Any, prompt: Tensor, tokens: Tensor) -> float:
    """Processor time of one pass over some tokens behind a prompt."""
    seconds = []
    for _ in range(TIMED_CHECKS):
        cache = DynamicCache(config=model.config)
        model(prompt[None], past_key_values=cache, logits_to_keep=1)
        seconds.append(_timed(partial(model, tokens[None], past_key_values=cache))[0])
    return median(seconds)


def _timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started = time.process_time()
    result = work()
    return time.process_time() - started, result


@torch.inference_mode()
def _right(draft: Any, prompt: Tensor, answer: Tensor) -> list[bool]:
    """Whether the draft says each token of the answer when it has read all before it."""
    logits = draft(torch.cat([prompt, answer])[None, :-1]).logits[0, len(prompt) - 1 :]
    return [bool(same) for same in logits.argmax(-1) == answer]


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
