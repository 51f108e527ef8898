"""Texts -> windows to train on, and windows of each text that are kept apart to choose the best state.

Shapes: w windows of t tokens.
"""

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from ..errors import TextError
from .config import RecoverConfig

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["Texts", "WindowSet", "read_texts"]


class Texts(NamedTuple):
    """Windows of all texts."""

    train: Tensor  # (w, t) int64
    held_out: dict[str, Tensor]  # text -> (w, t) int64
    record: "list[dict[str, object]]"  # JSON-ready: what each text gave


class WindowSet(Dataset[dict[str, Tensor]]):
    """Windows by number, as transformers' Trainer wants them; `place` finds a window's cached teacher."""

    def __init__(self, windows: Tensor) -> None:
        self.windows = windows

    def __len__(self) -> int:
        """How many."""
        return len(self.windows)

    def __getitem__(self, place: int) -> dict[str, Tensor]:
        """One window (t,) and its number."""
        return {"token_ids": self.windows[place], "place": torch.tensor(place)}


def read_texts(sources: "list[tuple[str, Tensor]]", config: RecoverConfig, *, needed: int | None) -> Texts:
    """Keep the last windows of each text apart and draw the others by share.

    Args:
        sources: text's name and all of its windows, in the order of the text, (w, t).
        config: `text` gives the shares, `held_out_windows` and `seed` are used.
        needed: windows to train on at most; None takes all.

    Raises:
        TextError: a text has too few windows.
    """
    held_out, pools = {}, []
    for name, windows in sources:
        kept = len(windows) - config.held_out_windows
        if kept < config.batch_windows:
            raise TextError(
                f"{name} holds {len(windows)} windows of {config.window_tokens} tokens; expected at least "
                f"{config.held_out_windows} to hold out and {config.batch_windows} for one step. Give more text, "
                "or smaller --window-tokens or --batch-windows."
            )
        # the end of a text, not windows drawn from it: neighbours of a training window know too much
        held_out[name] = windows[kept:]
        pools.append(windows[:kept])
    counts = _counts(pools, config, needed)
    generator = torch.Generator().manual_seed(config.seed)
    drawn = [
        pool[torch.randperm(len(pool), generator=generator)[:count]]
        for pool, count in zip(pools, counts, strict=True)
    ]
    record: list[dict[str, object]] = [
        {"text": name, "windows": count, "held_out_windows": config.held_out_windows}
        for (name, _), count in zip(sources, counts, strict=True)
    ]
    return Texts(torch.cat(drawn), held_out, record)


def _counts(pools: list[Tensor], config: RecoverConfig, needed: int | None) -> list[int]:
    """Windows of each text: by its share, as far as the text that runs out first allows."""
    shares = shares_of(config.text)
    total = min(len(pool) / share for pool, share in zip(pools, shares, strict=True) if share)
    total = total if needed is None else min(total, needed)
    return [max(1, min(len(pool), round(total * share))) for pool, share in zip(pools, shares, strict=True)]


def shares_of(texts: tuple[str, ...]) -> list[float]:
    """Shares of `SPEC` or `SPEC=share` arguments, summing to 1; those without one divide the rest evenly.

    Raises:
        TextError: shares that are no numbers in (0, 1], or that sum to more than 1.
    """
    from ..compress.mixture import parse_parts

    return [part.share for part in parse_parts(texts)]
