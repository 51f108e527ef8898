"""The calibration tokens that a configuration asks for: drawn once, whoever narrows with them."""

from dataclasses import asdict
from pathlib import Path

import torch

from ...errors import TextError
from ...json_files import validated
from ..output.resume import WorkDirectory
from ..record.config import CompressConfig
from ..record.progress import Progress, Silent
from ..record.report import CalibrationRecord
from ..streams.ranks import Ranks
from ..weights.dense import Dense
from .calibration import Windows, draw_windows
from .self_text import CACHE_FOLDER, SelfText

__all__ = ["calibration_windows", "windows_of_first"]


def windows_of_first(
    config: CompressConfig,
    dense: Dense,
    device: torch.device,
    progress: Progress,
    work: WorkDirectory,
    ranks: Ranks,
) -> Windows:
    """The calibration windows that the first process draws, in all of them.

    Self text is kept beside the work directory. Raises what `calibration_windows` does.
    """
    if ranks.count == 1:
        return calibration_windows(config, dense, device, progress, _cache_beside(work))
    item = None
    if ranks.is_first:
        drawn = calibration_windows(config, dense, device, progress, _cache_beside(work))
        item = ({"token_ids": drawn.token_ids}, [asdict(drawn.record), drawn.available])
    found = ranks.item(item)
    assert found is not None
    tensors, (record, available) = found
    record = validated(CalibrationRecord, record, "what the first process has drawn", TextError)
    return Windows(tensors["token_ids"], record, available)


def calibration_windows(
    config: CompressConfig,
    dense: Dense,
    device: torch.device,
    progress: Progress | None = None,
    cache: Path | None = None,
) -> Windows:
    """The calibration tokens that a configuration asks for.

    Args:
        config: names the texts.
        dense: the model, which writes self text where that is among them.
        device: where it writes.
        progress: told about every text that it writes.
        cache: a directory that keeps self text, or None.

    Raises:
        TextError: a text cannot be read or is too short.
        ModelError: the model cannot write.
    """
    progress = progress or Silent()
    writer = SelfText(dense=dense, device=device, seed=config.seed, cache=cache, progress=progress)
    return draw_windows(
        config.calibration,
        dense.tokenizer,
        windows=config.calibration_windows,
        window_tokens=config.window_tokens,
        seed=config.seed,
        self_text=writer.documents,
    )


def _cache_beside(work: WorkDirectory) -> Path | None:
    return None if work.path is None else work.path.absolute().parent / CACHE_FOLDER
