"""Quality of a row of docs/BITS.md: its log-probabilities against the original's, window by window.

Shapes: t tokens of a window, v vocabulary.
"""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dotresize.bench.quality.perplexity import (
    Scorer,
    estimate_quality,
    log_probabilities_of,
    mean_kl,
    mean_loss,
)
from dotresize.bench.quality.scorers import open_scorer
from dotresize.bench.quality.text_quality import quality_record
from dotresize.compress.calibration import Windows
from dotresize.compress.progress import Progress
from dotresize.compress.source import open_model
from dotresize.export.model_files import is_onnx_directory

from .evaluation import Evaluation

__all__ = ["Original"]


class Original:
    """What every row is compared to. It runs once: its log-probabilities stay in files.

    A file takes 4 (t - 1) v bytes: 201 MB for a window of 1,024 tokens of SmolLM2.
    """

    def __init__(self, model: str, evaluation: Evaluation, folder: Path, progress: Progress) -> None:
        """Read the texts; the model only where a file is missing.

        Args:
            model: as `open_model` takes it.
            evaluation: what to score on.
            folder: of the files; made when it is missing.
            progress: told about every window that is scored.
        """
        self._model, self._folder, self._progress = model, folder, progress
        self._texts = evaluation.windows(open_model(model).tokenizer)
        folder.mkdir(parents=True, exist_ok=True)

    @torch.no_grad()
    def compare(self, path: Path) -> dict[str, Any]:
        """The record of `bench.quality.text_quality` for a model or an ONNX export.

        Raises:
            DotresizeError: it cannot be read.
        """
        self._complete()
        score, count = _score_of(path), sum(len(text.token_ids) for text in self._texts)
        self._progress.begin(f"perplexity of {path.name}", count)
        return quality_record([(text, self._on(text, score)) for text in self._texts], {})

    def _on(self, text: Windows, score: Scorer) -> list[Any]:
        reference, losses, divergences = [], [], []
        for window in text.token_ids:
            first, found = self._stored(window), score(window)
            reference.append(mean_loss(first, window))
            losses.append(mean_loss(found, window))
            divergences.append(mean_kl(first, found))
            self._progress.advance()
        tokens = text.token_ids.numel() - len(text.token_ids)
        return [
            estimate_quality("dense", tokens, reference, reference, None),
            estimate_quality("row", tokens, losses, reference, divergences),
        ]

    def _complete(self) -> None:
        """Score what no earlier run did."""
        windows = [window for text in self._texts for window in text.token_ids]
        missing = [window for window in windows if not self._file(window).is_file()]
        if not missing:
            return
        model = open_model(self._model).load().model.float()
        self._progress.begin("perplexity of the original", len(missing))
        for window in missing:
            temporary = self._file(window).with_suffix(".tmp")
            with temporary.open("wb") as stream:
                np.save(stream, log_probabilities_of(model, window).numpy())
            temporary.rename(self._file(window))
            self._progress.advance()

    def _stored(self, window: Tensor) -> Tensor:
        return torch.from_numpy(np.load(self._file(window), mmap_mode="c"))

    def _file(self, window: Tensor) -> Path:
        content = self._model.encode() + window.numpy().tobytes()
        return self._folder / f"{hashlib.sha256(content).hexdigest()[:20]}.npy"


def _score_of(path: Path) -> Scorer:
    """The weights in float32, or ONNX Runtime itself, which rounds what it rounds."""
    kind = "onnx" if is_onnx_directory(path) else "huggingface"
    return open_scorer(path, kind, device=torch.device("cpu"), dtype="float32")
