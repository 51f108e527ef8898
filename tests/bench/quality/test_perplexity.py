"""Oracles: transformers' own loss, a uniform model, and a model against itself."""

import math
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from dotresize.bench.quality.perplexity import check_same_tokenizer, measure_perplexity
from dotresize.compress.text.calibration import Windows, leading_windows
from dotresize.compress.weights.source import DenseModel, load_dense
from dotresize.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


@pytest.fixture
def dense(pico_llama: Path) -> DenseModel:
    return load_dense(str(pico_llama))


@pytest.fixture
def windows(pico_tokenizer: "PreTrainedTokenizerFast") -> Windows:
    return leading_windows("builtin", pico_tokenizer, windows=5, window_tokens=64)


def test_it_is_the_loss_of_transformers(dense: DenseModel, windows: Windows) -> None:
    with torch.no_grad():
        loss = float(dense.model(windows.token_ids, labels=windows.token_ids).loss)
    (quality,) = measure_perplexity({"dense": dense.model}, windows)
    assert quality.perplexity.value == pytest.approx(math.exp(loss), rel=1e-4)
    assert quality.tokens == 5 * 63
    assert quality.perplexity_ratio is None
    assert quality.kl_nats_per_token is None


def test_standard_error_is_that_of_the_window_means(dense: DenseModel, windows: Windows) -> None:
    with torch.no_grad():
        losses = torch.stack([dense.model(row[None], labels=row[None]).loss for row in windows.token_ids])
    (quality,) = measure_perplexity({"dense": dense.model}, windows)
    expected = float(losses.mean().exp() * losses.std() / math.sqrt(5))
    assert quality.perplexity.standard_error == pytest.approx(expected, rel=1e-3)


def test_a_uniform_model_has_the_vocabulary_as_perplexity(dense: DenseModel, windows: Windows) -> None:
    torch.nn.init.zeros_(dense.model.get_output_embeddings().weight)
    (quality,) = measure_perplexity({"uniform": dense.model}, windows)
    assert quality.perplexity.value == pytest.approx(384, rel=1e-5)
    assert quality.perplexity.standard_error == pytest.approx(0, abs=1e-3)


def test_a_model_against_itself_shows_no_difference(dense: DenseModel, windows: Windows) -> None:
    again = measure_perplexity({"a": dense.model, "b": dense.model}, windows)[1]
    assert again.perplexity_ratio is not None
    assert again.kl_nats_per_token is not None
    assert again.perplexity_ratio.value == 1.0
    assert again.perplexity_ratio.standard_error == 0.0
    assert again.kl_nats_per_token.value == 0.0


def test_a_single_window_has_no_standard_error(
    dense: DenseModel, pico_tokenizer: "PreTrainedTokenizerFast"
) -> None:
    one = leading_windows("builtin", pico_tokenizer, windows=1, window_tokens=64)
    assert measure_perplexity({"dense": dense.model}, one)[0].perplexity.standard_error is None


def test_models_with_other_vocabularies_are_not_compared(pico_tokenizer: "PreTrainedTokenizerFast") -> None:
    import copy

    other = copy.deepcopy(pico_tokenizer)
    other.add_tokens(["extra"])
    with pytest.raises(InputError, match="b has another vocabulary than a"):
        check_same_tokenizer({"a": pico_tokenizer, "b": other})
