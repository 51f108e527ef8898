"""Documents -> fixed-length token windows, drawn by seed, with a content hash."""

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from ..errors import TextError
from .report import CalibrationRecord
from .text import Split, read_documents

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["DEFAULT_WINDOWS", "Windows", "draw_windows", "leading_windows"]

DEFAULT_WINDOWS = 128
_DRAWN_FROM = 2**22  # tokens; windows are drawn from the text's first four million, or from what they need
_LONGEST_PIECE = 2**21  # characters


class Windows(NamedTuple):
    """Token windows of one length."""

    token_ids: Tensor  # (windows, window_tokens) int64
    record: CalibrationRecord
    available: int  # windows that the text holds


def draw_windows(
    spec: str, tokenizer: "PreTrainedTokenizerBase", *, windows: int | None, window_tokens: int, seed: int
) -> Windows:
    """Calibration windows: the packed text is cut into windows and `windows` of them are drawn by seed.

    Args:
        spec: see `text.read_documents`; the calibration split.
        tokenizer: of the model.
        windows: how many; None takes 128 or what the text allows.
        window_tokens: tokens per window.
        seed: of the draw, without replacement.

    Raises:
        TextError: the text is shorter than asked for.
    """
    cut = _cut(
        spec, "calibration", tokenizer, window_tokens, max((windows or 0) * window_tokens, _DRAWN_FROM)
    )
    count = _count(spec, windows, len(cut), window_tokens)
    order = torch.randperm(len(cut), generator=torch.Generator().manual_seed(seed))[:count]
    return _windows(spec, cut, order.sort().values, seed)


def leading_windows(
    spec: str,
    tokenizer: "PreTrainedTokenizerBase",
    *,
    window_tokens: int,
    windows: int | None = None,
    at_most: int | None = None,
) -> Windows:
    """Evaluation windows: the first `windows`, or the first `at_most`, or all of the evaluation split.

    Raises:
        TextError: the text is shorter than asked for.
    """
    need = windows if windows is not None else at_most
    cut = _cut(spec, "evaluation", tokenizer, window_tokens, None if need is None else need * window_tokens)
    count = min(len(cut), at_most or len(cut)) if windows is None else windows
    return _windows(spec, cut, torch.arange(_count(spec, count, len(cut), window_tokens)), 0)


def _cut(
    spec: str, split: Split, tokenizer: "PreTrainedTokenizerBase", window_tokens: int, need: int | None
) -> Tensor:
    """Whole windows of the packed text, (windows, window_tokens): all, or as many as hold `need` tokens."""
    packed: list[int] = []
    for document in read_documents(spec, split):
        if packed and tokenizer.eos_token_id is not None:
            packed.append(tokenizer.eos_token_id)
        for piece in _pieces(document):
            packed.extend(tokenizer(piece, add_special_tokens=False, verbose=False)["input_ids"])
            if need is not None and len(packed) >= need:
                break
        if need is not None and len(packed) >= need:
            break
    if len(packed) < window_tokens:
        raise TextError(
            f"{spec} ({split}) holds {len(packed)} tokens, less than one window of {window_tokens}; "
            "give more text or a smaller --window-tokens."
        )
    whole = len(packed) // window_tokens * window_tokens
    return torch.tensor(packed[:whole], dtype=torch.int64).reshape(-1, window_tokens)


def _pieces(document: str) -> Iterator[str]:
    """A document in parts that a tokenizer takes at once; one of usual length is one part.

    Longer ones are cut before a line, else before a word, else anywhere.
    """
    start = 0
    while len(document) - start > _LONGEST_PIECE:
        end = start + _LONGEST_PIECE
        found = max(document.rfind("\n", start + 1, end), 0) or max(document.rfind(" ", start + 1, end), 0)
        end = found or end
        yield document[start:end]
        start = end
    yield document[start:]


def _count(spec: str, asked: int | None, available: int, window_tokens: int) -> int:
    if asked is not None and asked > available:
        raise TextError(
            f"{spec} holds {available} windows of {window_tokens} tokens, {asked} were asked for; "
            f"ask for at most {available}, or give more text."
        )
    return min(DEFAULT_WINDOWS, available) if asked is None else asked


def _windows(spec: str, cut: Tensor, order: Tensor, seed: int) -> Windows:
    token_ids = cut[order].contiguous()
    record = CalibrationRecord(
        name=spec
        if spec == "builtin" or spec.startswith("hf:")
        else spec.replace("\\", "/").rsplit("/", 1)[-1],
        windows=len(token_ids),
        window_tokens=token_ids.shape[1],
        sha256=hashlib.sha256(token_ids.numpy().tobytes()).hexdigest(),
        seed=seed,
    )
    return Windows(token_ids, record, len(cut))
