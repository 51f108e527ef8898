"""Texts -> windows to train on, and windows of each text that are kept apart to choose the best state.

Shapes: w windows of t tokens.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from ...errors import TextError
from ...export.contract.recovery import RecoveryText
from .config import RecoverConfig

__all__ = ["Source", "Texts", "WindowSet", "read_texts", "stand_ins"]


class Texts(NamedTuple):
    """Windows of all texts."""

    train: Tensor  # (w, t) int64
    held_out: dict[str, Tensor]  # text -> (w, t) int64
    record: tuple[RecoveryText, ...]


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


class Source(NamedTuple):
    """One text."""

    name: str
    share: float  # of the training windows; all shares sum to 1
    windows: Tensor  # (w, t) int64, in the order of the text


def stand_ins(config: RecoverConfig, vocabulary: int) -> Tensor:
    """Windows of random tokens, (w, t), for one batch that is only there to be measured."""
    generator = torch.Generator().manual_seed(config.seed)
    return torch.randint(vocabulary, (config.micro_windows, config.window_tokens), generator=generator)


def read_texts(sources: list[Source], config: RecoverConfig, *, needed: int | None) -> Texts:
    """Keep the last windows of each text apart and draw the others by share.

    Args:
        sources: the texts.
        config: `held_out_windows`, `batch_windows` and `seed` are used.
        needed: windows to train on at most; None takes all.

    Raises:
        TextError: a text has too few windows.
    """
    for source in sources:
        if len(source.windows) < config.held_out_windows + config.batch_windows:
            raise TextError(
                f"{source.name} holds {len(source.windows)} windows of {config.window_tokens} tokens; "
                f"expected at least {config.held_out_windows} to hold out and {config.batch_windows} for one "
                "step. Give more text, or smaller --window-tokens or --batch-windows."
            )
    # the end of a text, not windows drawn from it: neighbours of a training window know too much
    held_out = {source.name: source.windows[-config.held_out_windows :] for source in sources}
    pools = [source.windows[: -config.held_out_windows] for source in sources]
    # no window twice: the text that runs out first decides how much of the others is used
    total = min(len(pool) / source.share for pool, source in zip(pools, sources, strict=True))
    total = total if needed is None else min(total, needed)
    generator = torch.Generator().manual_seed(config.seed)
    drawn, record = [], []
    for source, pool in zip(sources, pools, strict=True):
        count = max(1, min(len(pool), round(total * source.share)))
        drawn.append(pool[torch.randperm(len(pool), generator=generator)[:count]])
        record.append(RecoveryText(name=source.name, windows=count, held_out_windows=config.held_out_windows))
    return Texts(torch.cat(drawn), held_out, tuple(record))
