"""A pico teacher that was trained for a moment, a narrow student of it, and windows of a real text."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from dotresize.compress.record.config import CompressConfig
from dotresize.compress.run import compress
from dotresize.compress.weights.source import DenseModel, load_dense
from dotresize.export.checkpoint.write import save

from ..text import TEXT


@pytest.fixture(scope="session")
def narrow_directory(pico_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = CompressConfig(
        width=0.75, mlp_width=0.75, calibration=TEXT, calibration_windows=4, window_tokens=64
    )
    directory = tmp_path_factory.mktemp("recover") / "narrow"
    save(compress(str(pico_llama), config), directory)
    return directory


@pytest.fixture
def teacher(pico_llama: Path) -> DenseModel:
    return load_dense(str(pico_llama))


@pytest.fixture
def narrow(narrow_directory: Path) -> DenseModel:
    return load_dense(str(narrow_directory))


@pytest.fixture
def windows(teacher: DenseModel) -> Tensor:
    """All windows of 32 tokens, (w, 32)."""
    token_ids = teacher.tokenizer(Path(TEXT).read_text(encoding="utf-8"))["input_ids"]
    whole = len(token_ids) // 32 * 32
    return torch.tensor(token_ids[:whole]).reshape(-1, 32)
