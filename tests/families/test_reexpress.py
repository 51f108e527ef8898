"""A Llama written as another family is the same function, and every pico shows what it is for."""

from pathlib import Path

import pytest
import torch

from .conftest import SaveExpressed, SaveFamily, logits_of, stock, strictly_loaded
from .models.configs import CONFIGS
from .models.expressed import Expressed
from .models.float64 import Float64
from .models.reexpress import EXPRESSIONS


@pytest.mark.parametrize("source", ["pico_llama", "pico_llama_untied"])
@pytest.mark.parametrize("family", EXPRESSIONS)
def test_a_llama_is_expressed_exactly(family: str, source: str, request: pytest.FixtureRequest) -> None:
    if (family, source) == ("cohere", "pico_llama_untied"):
        pytest.skip("Cohere ties the head")
    with Float64():
        llama = strictly_loaded(request.getfixturevalue(source), torch.float64)
        expressed = EXPRESSIONS[family](Expressed(llama.config, dict(llama.state_dict())))
        wanted, found = logits_of(llama), logits_of(stock(expressed, torch.float64))
    assert wanted.std() > 0.5  # logits that differ: agreement says something
    # a dozen float64 products in a row err by 1e-14; the near-linear norms by 1e-12 mean(u^2), u up to 10
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-9)


@pytest.mark.parametrize("family", EXPRESSIONS)
def test_an_expressed_llama_reloads_strictly(
    family: str, pico_llama: Path, save_expressed: SaveExpressed
) -> None:
    wanted = logits_of(strictly_loaded(pico_llama, torch.float32))
    found = logits_of(strictly_loaded(save_expressed(pico_llama, family), torch.float32))
    # float32 has 6e-8 relative; some thirty roundings and logits up to 20
    torch.testing.assert_close(found, wanted, rtol=0, atol=2e-4)


@pytest.mark.parametrize("family", CONFIGS)
def test_every_pico_reloads_and_has_telling_logits(family: str, save_family: SaveFamily) -> None:
    logits = logits_of(strictly_loaded(save_family(family), torch.float32))
    assert logits.std() > 0.2
    assert torch.isfinite(logits).all()


@pytest.mark.slow
@pytest.mark.parametrize("family", ["gemma3_text", "mixtral"])
def test_the_real_model_is_expressed_exactly(
    family: str, smollm2_directory: Path, save_expressed: SaveExpressed
) -> None:
    wanted = logits_of(strictly_loaded(smollm2_directory, torch.float32), 1)
    found = logits_of(strictly_loaded(save_expressed(smollm2_directory, family), torch.float32), 1)
    # float32 throughout, 30 layers: what two summation orders of the same model differ by
    torch.testing.assert_close(found, wanted, rtol=0, atol=2e-3)
