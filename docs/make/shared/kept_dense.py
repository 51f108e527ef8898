"""What an original answers, computed once: the rows of a page share it, whatever they narrow.

A file per window, (t - 1) v float32: 0.2 GB for 1,024 tokens of 49,152. Float32 is what the model's
log-probabilities are in, so a page's figures are the same to the last digit.
"""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import torch
import transformers
from torch import Tensor

from dotresize.bench.quality.perplexity import log_probabilities_of
from dotresize.compress.weights.source import DenseModel
from dotresize.errors import OutputError

__all__ = ["KEPT", "KeptDense"]

KEPT = Path("build/dense")


class KeptDense:
    """Scores windows as the model does, in place of it in `measure_perplexity`."""

    def __init__(self, dense: DenseModel, folder: Path = KEPT) -> None:
        """Take the original, and where its answers are kept.

        A folder for each model, software and number of threads: what the last digit depends on.
        """
        self._model = dense.model
        versions = torch.__version__, transformers.__version__
        told = (dense.source.sha256, dense.model.dtype, *versions, torch.get_num_threads())
        self._folder = folder / hashlib.sha256("\n".join(map(str, told)).encode()).hexdigest()[:16]

    def __call__(self, window: Tensor) -> Tensor:
        """Log-probabilities (t - 1, v) float32 of a window (t,), on the model's device.

        Raises:
            OutputError: the disk has no room for them.
        """
        kept = self._folder / f"{hashlib.sha256(window.cpu().numpy().tobytes()).hexdigest()[:32]}.npy"
        if kept.is_file():
            return torch.from_numpy(np.load(kept)).to(self._model.device)
        found = log_probabilities_of(self._model, window)
        self._keep(kept, found)
        return found

    def _keep(self, file: Path, found: Tensor) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        needed, free = found.numel() * 4, shutil.disk_usage(self._folder).free
        if needed > free:
            raise OutputError(
                f"the original's answers to a window need {needed / 1e9:.2f} GB in {self._folder}, "
                f"{free / 1e9:.2f} GB are free; delete what is not needed there, or ask for fewer windows."
            )
        temporary = file.with_suffix(".tmp.npy")
        np.save(temporary, found.float().cpu().numpy())
        temporary.rename(file)
