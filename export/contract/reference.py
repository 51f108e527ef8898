"""Reference logits: what the narrowed model said in memory, kept for every later runtime to reproduce.

A few fixed prompts, their token ids, the float32 logits of every position and a greedy continuation.
Stored in a sub-folder, because vLLM reads every `*.safetensors` of the top folder as weights.
Loading needs numpy and safetensors only.

Shapes: T prompt tokens, V vocabulary, S = `GREEDY_TOKENS` generated tokens.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ManifestError, ModelError
from ...foreign import reading
from ...json_files import read_json, validated
from .manifest import digest, file_record

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["GREEDY_TOKENS", "PROMPTS", "PromptReference", "Reference", "load", "make_reference", "save"]

FOLDER = "reference"
PROMPTS_NAME = "prompts.json"
LOGITS_NAME = "logits.safetensors"
GREEDY_TOKENS = 16
MAX_PROMPT_TOKENS = 24
PROMPTS = (
    "The lighthouse keeper climbed the stairs every evening, and when the fog came in from the sea he",
    "def fibonacci(n: int) -> int:\n    if n < 2:\n        return n\n    return",
    "1, 1, 2, 3, 5, 8, 13, 21, 34, 55,",
    "User: What is the capital of France?\nAssistant:",
)


@dataclass(frozen=True, kw_only=True)
class PromptReference:
    """One prompt and what the model made of it."""

    text: str
    token_ids: tuple[int, ...]  # (T,)
    logits: NDArray[np.float32]  # (T, V)
    greedy_token_ids: tuple[int, ...]  # (S,)
    greedy_margins: tuple[float, ...]  # (S,) best logit minus second best, at each greedy step


@dataclass(frozen=True, kw_only=True)
class _Row:
    """A prompt in prompts.json."""

    text: str
    token_ids: tuple[int, ...]
    greedy_token_ids: tuple[int, ...]
    greedy_margins: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class _Rows:
    prompts: list[_Row]


@dataclass(frozen=True, kw_only=True)
class Reference:
    """All fixed prompts, in order."""

    prompts: tuple[PromptReference, ...]


def make_reference(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> Reference:
    """Run the fixed prompts through a model in memory, in float32 whatever dtype it is stored in.

    Args:
        model: Causal language model on any device; its weights are unchanged afterwards.
        tokenizer: Its tokenizer, special tokens added as it adds them by itself.

    Raises:
        ModelError: The tokenizer gives ids that the model does not know, or the logits are not finite.
    """
    from .float32 import as_float32

    with as_float32(model):
        return Reference(prompts=tuple(_run_prompt(model, tokenizer, text) for text in PROMPTS))


def _run_prompt(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", text: str) -> PromptReference:
    import torch

    token_ids = [int(token) for token in tokenizer(text)["input_ids"]][:MAX_PROMPT_TOKENS]
    vocab_size = int(model.config.vocab_size)
    if not token_ids or max(token_ids) >= vocab_size:
        raise ModelError(
            f"the tokenizer gives token ids {token_ids[:4]}... for a reference prompt, expected ids below "
            f"the model's vocabulary of {vocab_size}; the tokenizer does not belong to this model"
        )
    ids = torch.tensor([token_ids], device=model.device)  # (1, T)
    with torch.inference_mode():
        output = model(input_ids=ids, use_cache=True)
        logits = output.logits[0].float()  # (T, V)
        if not bool(torch.isfinite(logits).all()):
            raise ModelError(
                "the model's logits are not finite on a reference prompt; its weights are broken"
            )
        greedy, margins = _greedy(model, logits[-1], output.past_key_values)
    return PromptReference(
        text=text,
        token_ids=tuple(token_ids),
        logits=logits.cpu().numpy(),
        greedy_token_ids=greedy,
        greedy_margins=margins,
    )


def _greedy(
    model: "PreTrainedModel", last: "torch.Tensor", cache: Any
) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Continue by the best token, past any end-of-text token: every runtime can be told to do the same."""
    import torch

    tokens: list[int] = []
    margins: list[float] = []
    for _ in range(GREEDY_TOKENS):
        best = torch.topk(last, 2)  # (2,)
        tokens.append(int(best.indices[0]))
        margins.append(float(best.values[0] - best.values[1]))
        output = model(input_ids=best.indices[:1][None], past_key_values=cache, use_cache=True)
        last = output.logits[0, -1].float()  # (V,)
        cache = output.past_key_values
    return tuple(tokens), tuple(margins)


def save(reference: Reference, directory: Path) -> str:
    """Write `reference/` into `directory`; returns the hash that the manifest keeps."""
    from safetensors.numpy import save_file

    folder = directory / FOLDER
    folder.mkdir()
    rows = [
        {
            "text": prompt.text,
            "token_ids": list(prompt.token_ids),
            "greedy_token_ids": list(prompt.greedy_token_ids),
            "greedy_margins": list(prompt.greedy_margins),
        }
        for prompt in reference.prompts
    ]
    text = json.dumps({"prompts": rows}, indent=1, ensure_ascii=False) + "\n"
    (folder / PROMPTS_NAME).write_text(text, encoding="utf-8")
    arrays = {str(index): prompt.logits for index, prompt in enumerate(reference.prompts)}
    save_file(arrays, folder / LOGITS_NAME)
    return sha256(directory)


def load(directory: Path) -> Reference:
    """Read `reference/` of an output directory.

    Raises:
        ManifestError: It is missing or damaged.
    """
    folder = directory / FOLDER
    rows = validated(_Rows, read_json(folder / PROMPTS_NAME), str(folder / PROMPTS_NAME)).prompts
    advice = "it does not hold the reference logits; make the directory again"
    with reading(folder / LOGITS_NAME, ManifestError, by="safetensors", advice=advice):
        from safetensors.numpy import load_file

        arrays = load_file(folder / LOGITS_NAME)
    if not rows:
        raise ManifestError(f"{folder / PROMPTS_NAME} holds no prompt; make the directory again")
    for index, row in enumerate(rows):
        shape = arrays[str(index)].shape if str(index) in arrays else ()
        steps = len(row.greedy_token_ids)
        if len(shape) != 2 or shape[0] != len(row.token_ids) or steps != len(row.greedy_margins) or not steps:
            raise ManifestError(
                f"{folder} does not hold the reference logits of prompt {index + 1}: its token ids, greedy "
                f"tokens and logits {list(shape)} do not fit each other; make the directory again"
            )
    return Reference(
        prompts=tuple(
            PromptReference(
                text=row.text,
                token_ids=row.token_ids,
                logits=arrays[str(index)],
                greedy_token_ids=row.greedy_token_ids,
                greedy_margins=row.greedy_margins,
            )
            for index, row in enumerate(rows)
        )
    )


def sha256(directory: Path) -> str:
    """Hash over the reference files of a directory."""
    names = (PROMPTS_NAME, LOGITS_NAME)
    return digest((name, file_record(directory / FOLDER / name)) for name in names)
