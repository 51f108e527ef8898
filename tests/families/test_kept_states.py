"""What is behind the head of every family, caps and multipliers of the logits among it."""

import pytest
import torch

from dotresize.bench.quality.kept_states import KeptStates
from dotresize.bench.quality.perplexity import log_probabilities_of
from dotresize.compress.families.rows import FAMILIES
from dotresize.compress.weights.source import load_dense

from .conftest import SaveFamily


@pytest.mark.parametrize("family", FAMILIES)
def test_kept_states_give_the_models_answers(family: str, save_family: SaveFamily) -> None:
    model, window = load_dense(str(save_family(family))).model, torch.arange(3, 43)
    with torch.no_grad():
        expected = log_probabilities_of(model, window)
    assert expected.std() > 0.2  # answers that differ
    # Granite divides where we multiply
    torch.testing.assert_close(KeptStates(model)(window), expected, rtol=0, atol=1e-5)
