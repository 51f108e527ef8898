"""What a model answers to a few prompts, so that a reader sees and does not only count.

Greedy, by a scorer alone: every token is one pass over all before it, the same for every runtime.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING

import torch

from ...compress.text.conversation import render_question
from ..record.results import SampleAnswer
from .perplexity import Scorer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["PROMPTS", "sample_answers"]

PROMPTS = (
    "Why is the sky blue? Answer in one sentence.",
    "A train leaves at 14:10 and arrives at 16:45. How long does it take?",
    "Write a Python function that reverses a string.",
    "Translate into French: The library opens at nine o'clock.",
)
ANSWER_TOKENS = 40


@torch.no_grad()
def sample_answers(
    name: str,
    scorer: Scorer,
    tokenizer: "PreTrainedTokenizerBase",
    *,
    context_tokens: int | None,
    stop: Collection[int],
) -> list[SampleAnswer]:
    """One answer per prompt, by the model's chat template where it has one.

    Args:
        name: of the model.
        scorer: window (t,) of token ids -> log-probabilities (t - 1, v).
        tokenizer: of the model.
        context_tokens: what the model can see; prompts that leave no room for an answer are left out.
        stop: tokens that end an answer.
    """
    found = []
    for prompt in PROMPTS:
        ids = tokenizer(render_question(prompt, tokenizer), add_special_tokens=not tokenizer.chat_template)
        start: list[int] = ids["input_ids"]
        if context_tokens is not None and len(start) + ANSWER_TOKENS + 1 > context_tokens:
            continue
        answer = _greedy(scorer, start, stop)
        complete = bool(answer) and answer[-1] in stop
        text = str(tokenizer.decode(answer[:-1] if complete else answer, skip_special_tokens=True))
        found.append(SampleAnswer(model=name, prompt=prompt, text=text.strip(), complete=complete))
    return found


def _greedy(scorer: Scorer, start: list[int], stop: Collection[int]) -> list[int]:
    """Token ids of the answer, the one that ended it included."""
    ids = list(start)
    while len(ids) < len(start) + ANSWER_TOKENS and (len(ids) == len(start) or ids[-1] not in stop):
        window = torch.tensor([*ids, ids[-1]])  # what a scorer says of the last token it does not look at
        ids.append(int(scorer(window)[-1].argmax()))
    return ids[len(start) :]
