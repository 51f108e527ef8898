"""Oracle: the model itself, to the last digit."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from docs.make.shared.kept_dense import KeptDense
from dotresize.bench.quality.text_quality import measure_texts, windows_of_texts
from dotresize.compress.weights.source import DenseModel, load_dense

from ..text import TEXT


@pytest.fixture
def dense(pico_llama: Path) -> DenseModel:
    return load_dense(str(pico_llama))


def test_figures_are_the_models_and_it_runs_once(
    dense: DenseModel, pico_llama_untied: Path, tmp_path: Path
) -> None:
    narrow = load_dense(str(pico_llama_untied)).model
    texts = windows_of_texts([TEXT, "builtin:code"], dense.tokenizer, window_tokens=32, at_most=2)
    expected = measure_texts({"dense": dense.model, "narrow": narrow}, texts)
    runs: list[int] = []
    dense.model.register_forward_hook(lambda *_: runs.append(1))
    for _ in range(2):
        assert measure_texts({"dense": KeptDense(dense, tmp_path), "narrow": narrow}, texts) == expected
        assert len(runs) == 4  # two texts of two windows, the first time


def test_another_model_or_window_is_not_taken_for_the_kept_one(dense: DenseModel, tmp_path: Path) -> None:
    window = torch.arange(20)
    first = KeptDense(dense, tmp_path)(window)
    other = replace(dense, source=replace(dense.source, sha256="another"))
    with torch.no_grad():
        dense.model.get_output_embeddings().weight.mul_(2)
    assert torch.equal(KeptDense(dense, tmp_path)(window), first)
    assert not torch.equal(KeptDense(other, tmp_path)(window), first)
    assert KeptDense(dense, tmp_path)(window[:10]).shape[0] == 9
