"""Perplexity of many models with one of them in memory at a time, whatever runs it.

Shapes: w windows of t tokens, v vocabulary. The first model's log-probabilities wait on disk.
"""

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...compress.record.progress import Progress, Silent
from ...compress.text.calibration import Windows
from ...errors import InputError, OutputError
from .perplexity import ModelPerplexity, Scorer, estimate_quality, mean_kl, mean_loss

__all__ = ["measure_in_turn"]


@torch.no_grad()
def measure_in_turn(
    scorers: Mapping[str, Callable[[], Scorer]],
    windows: Windows,
    work_directory: Path,
    *,
    progress: Progress | None = None,
) -> list[ModelPerplexity]:
    """As `measure_perplexity`, with one model in memory at a time, whatever runs it.

    The first model's log-probabilities, w (t - 1) v float32, wait in a file of `work_directory` meanwhile;
    float32 so that a model against itself shows exactly no difference.

    Args:
        scorers: name -> a function that opens the model; the first is what the others are compared to.
        windows: from `calibration.leading_windows`.
        work_directory: An existing directory with room for that file.
        progress: told about every window.

    Raises:
        OutputError: There is too little room on the disk.
    """
    progress = progress or Silent()
    progress.begin("perplexity", len(scorers) * len(windows.token_ids))
    first = _FirstModel(work_directory) if len(scorers) > 1 else None
    reference: list[float] = []
    qualities: list[ModelPerplexity] = []
    tokens = windows.token_ids.numel() - len(windows.token_ids)
    for name, open_scorer in scorers.items():
        scorer = open_scorer()
        losses, divergences = _score(scorer, windows, first, is_first=not qualities, progress=progress)
        del scorer
        reference = reference or losses
        qualities.append(
            estimate_quality(name, tokens, losses, reference, divergences if qualities else None)
        )
    return qualities


def _score(
    scorer: Scorer, windows: Windows, first: "_FirstModel | None", *, is_first: bool, progress: Progress
) -> tuple[list[float], list[float]]:
    """Mean loss per window, and for all but the first model the mean divergence from it."""
    losses: list[float] = []
    divergences: list[float] = []
    for index in range(len(windows.token_ids)):
        window = windows.token_ids[index]
        log_probabilities = scorer(window)
        losses.append(mean_loss(log_probabilities, window))
        if first is not None and is_first:
            first.keep(index, log_probabilities, len(windows.token_ids))
        elif first is not None:
            divergences.append(mean_kl(first.recall(index, log_probabilities), log_probabilities))
        progress.advance()
    return losses, divergences


class _FirstModel:
    """The first model's log-probabilities on disk, a window at a time."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "first-model.f32"
        self._shape: Sequence[int] = ()

    def keep(self, index: int, log_probabilities: Tensor, count: int) -> None:
        """Append window number `index` of `count`."""
        if index == 0:
            self._shape = tuple(log_probabilities.shape)
            needed, free = count * log_probabilities.numel() * 4, shutil.disk_usage(self._path.parent).free
            if needed > free:
                raise OutputError(
                    f"comparing models needs {needed / 1e9:.1f} GB in {self._path.parent} for the original's "
                    f"log-probabilities, {free / 1e9:.1f} GB are free; set TMPDIR to a larger disk, or use "
                    "fewer or shorter windows of text"
                )
        with self._path.open("ab") as stream:
            log_probabilities.float().cpu().contiguous().numpy().tofile(stream)

    def recall(self, index: int, like: Tensor) -> Tensor:
        """Window number `index`, on the device of `like`."""
        if tuple(like.shape) != tuple(self._shape):
            raise InputError(
                f"a model has {like.shape[-1]} logits per token, the first one {self._shape[-1]}; "
                "models with different vocabularies do not compare"
            )
        count = math.prod(self._shape)
        array = np.fromfile(self._path, dtype=np.float32, count=count, offset=index * count * 4)
        return torch.from_numpy(array.reshape(self._shape)).to(like.device)
