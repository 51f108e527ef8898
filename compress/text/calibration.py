"""Documents -> fixed-length token windows, drawn by seed, with a content hash."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from ...errors import OptionError, TextError
from ..record.report import CalibrationPart, CalibrationRecord
from .conversation import Conversation, render
from .documents import Document, Split, name_of, read_documents
from .mixture import SELF, Part, mixture_of, windows_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["DEFAULT_WINDOWS", "Windows", "check_texts", "draw_windows", "leading_windows"]

DEFAULT_WINDOWS = 128
_DRAWN_FROM = 2**22  # tokens; windows are drawn from a text's first four million, or from what they need
_LONGEST_PIECE = 2**21  # characters


class Windows(NamedTuple):
    """Token windows of one length."""

    token_ids: Tensor  # (windows, window_tokens) int64
    record: CalibrationRecord
    available: int  # windows that the text holds


class _Cut(NamedTuple):
    """A text as windows, (windows, window_tokens), and the hash of its documents."""

    windows: Tensor
    text_sha256: str


class _Drawn(NamedTuple):
    """What one text of a mixture gives: its windows, what is recorded, and how many it holds."""

    windows: Tensor
    record: CalibrationPart
    held: int


def draw_windows(
    specs: str | Sequence[str],
    tokenizer: "PreTrainedTokenizerBase",
    *,
    windows: int | None,
    window_tokens: int,
    seed: int,
    self_text: Callable[[int], list[str]] | None = None,
) -> Windows:
    """Calibration windows: each packed text is cut into windows, and its share of them is drawn by seed.

    No window is drawn twice, not even when two texts both hold it. The windows of a mixture are shuffled, so
    that any part of them is a mixture, too.

    Args:
        specs: texts with optional shares, see `mixture.mixture_of` and `text.read_documents`; the calibration
            split of each. "self" is text that the model itself writes.
        tokenizer: of the model.
        windows: how many in all; None takes 128 or what the texts allow.
        window_tokens: tokens per window.
        seed: of the draw, without replacement.
        self_text: gives documents with at least so many tokens, written by the model.

    Raises:
        OptionError: shares that cannot be, or self text where no model can write it.
        TextError: a text is shorter than asked for.
    """
    specs = [specs] if isinstance(specs, str) else list(specs)
    parts = mixture_of(specs)
    if self_text is None and any(part.spec == SELF for part in parts):
        raise OptionError("self text needs the model that writes it; name another text here.")
    drawn = _draw_each(parts, tokenizer, windows, window_tokens, seed, self_text)
    token_ids = torch.cat([each.windows for each in drawn])
    if len(parts) > 1:
        token_ids = token_ids[torch.randperm(len(token_ids), generator=torch.Generator().manual_seed(seed))]
    return _windows(specs, token_ids, [each.record for each in drawn], seed, sum(each.held for each in drawn))


def check_texts(
    specs: str | Sequence[str],
    tokenizer: "PreTrainedTokenizerBase",
    *,
    windows: int | None,
    window_tokens: int,
    seed: int,
) -> None:
    """Refuse what `draw_windows` would refuse, as far as that can be known before the model is loaded.

    Raises:
        OptionError: shares that cannot be.
        TextError: a text is missing, or shorter than asked for.
    """
    parts = mixture_of([specs] if isinstance(specs, str) else list(specs))
    _draw_each(parts, tokenizer, windows, window_tokens, seed, None)


def _draw_each(
    parts: Sequence[Part],
    tokenizer: "PreTrainedTokenizerBase",
    windows: int | None,
    window_tokens: int,
    seed: int,
    self_text: Callable[[int], list[str]] | None,
) -> list[_Drawn]:
    """Every text's windows; self text is left out where nothing can write it."""
    need = max((windows or 0) * window_tokens, _DRAWN_FROM)
    cuts = {
        part.spec: _cut(part.spec, read_documents(part.spec, "calibration"), tokenizer, window_tokens, need)
        for part in parts
        if part.spec != SELF
    }
    count = _default_windows(parts, cuts) if windows is None else windows
    drawn: list[_Drawn] = []
    for part, wanted in zip(parts, windows_of(parts, count), strict=True):
        if part.spec != SELF:
            cut = cuts[part.spec]
            order = _fresh(cut.windows, [each.windows for each in drawn], seed)
            if wanted > len(order):
                raise _too_short(part, wanted, len(order), count, window_tokens)
            order = order[:wanted].sort().values
        elif self_text is None or not wanted:
            continue
        else:
            documents: list[Document] = [*self_text(wanted * window_tokens)]
            cut = _cut(SELF, documents, tokenizer, window_tokens, None)
            order = torch.arange(wanted)
        drawn.append(_Drawn(cut.windows[order], _part(part.spec, part.share, cut, order), len(cut.windows)))
    return drawn


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
    wanted = windows if windows is not None else at_most
    need = None if wanted is None else wanted * window_tokens
    cut = _cut(spec, read_documents(spec, "evaluation"), tokenizer, window_tokens, need, "evaluation")
    available = len(cut.windows)
    count = min(available, at_most or available) if windows is None else windows
    if count > available:
        raise _too_short(Part(spec=spec, share=1.0), count, available, count, window_tokens)
    order = torch.arange(count)
    return _windows([spec], cut.windows[order], [_part(spec, 1.0, cut, order)], 0, available)


def _cut(
    spec: str,
    documents: list[Document],
    tokenizer: "PreTrainedTokenizerBase",
    window_tokens: int,
    need: int | None,
    split: Split = "calibration",
) -> _Cut:
    """Whole windows of the packed text: all, or as many as hold `need` tokens."""
    packed: list[int] = []
    for document in documents:
        if packed and tokenizer.eos_token_id is not None:
            packed.append(tokenizer.eos_token_id)
        text = render(document, tokenizer) if isinstance(document, Conversation) else document
        for piece in _pieces(text):
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
    windows = torch.tensor(packed[:whole], dtype=torch.int64).reshape(-1, window_tokens)
    return _Cut(windows, _sha256(documents))


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


def _sha256(documents: list[Document]) -> str:
    """Of what the documents say, whatever the tokenizer."""
    digest = hashlib.sha256()
    for document in documents:
        text = document if isinstance(document, str) else repr(document)
        digest.update(text.encode(errors="replace") + b"\0")
    return digest.hexdigest()


def _default_windows(parts: Sequence[Part], cuts: dict[str, _Cut]) -> int:
    """128, or as many as the scarcest text allows by its share."""
    allowed = [int(len(cuts[part.spec].windows) / part.share + 1e-6) for part in parts if part.spec in cuts]
    return max(1, min([DEFAULT_WINDOWS, *allowed]))


def _fresh(windows: Tensor, chosen: list[Tensor], seed: int) -> Tensor:
    """Indices of the windows that no earlier text of the mixture gave, in random order."""
    order = torch.randperm(len(windows), generator=torch.Generator().manual_seed(seed))
    if not chosen:
        return order
    taken = {window.numpy().tobytes() for part in chosen for window in part}
    fresh = [index for index in order.tolist() if windows[index].numpy().tobytes() not in taken]
    return torch.tensor(fresh, dtype=torch.int64)


def _too_short(part: Part, wanted: int, available: int, count: int, window_tokens: int) -> TextError:
    of_it = "" if wanted == count else f", {wanted} of them of this text"
    return TextError(
        f"{part.spec} holds {available} windows of {window_tokens} tokens, {count} were asked for{of_it}; "
        f"ask for at most {int(available / part.share + 1e-6)}, or give more text."
    )


def _part(spec: str, share: float, cut: _Cut, order: Tensor) -> CalibrationPart:
    return CalibrationPart(
        name=name_of(spec),
        share=share,
        windows=len(order),
        drawn=tuple(order.tolist()),
        text_sha256=cut.text_sha256,
    )


def _windows(
    specs: Sequence[str], token_ids: Tensor, parts: list[CalibrationPart], seed: int, available: int
) -> Windows:
    token_ids = token_ids.contiguous()
    record = CalibrationRecord(
        name=" + ".join(name_of(spec) for spec in specs),
        windows=len(token_ids),
        window_tokens=token_ids.shape[1],
        sha256=hashlib.sha256(token_ids.numpy().tobytes()).hexdigest(),
        seed=seed,
        parts=tuple(parts),
    )
    return Windows(token_ids, record, available)
