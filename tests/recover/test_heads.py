"""What the head reads and the logits that come from it, against each family's own class."""

import pytest
import torch
from torch.testing import assert_close

from dotresize.recover.losses.heads import finishing, head_of, plain_again, run_decoder

from ..families.models.configs import CONFIGS, pico_config


@pytest.mark.parametrize("family", CONFIGS)
def test_head_and_decoder_give_the_classs_own_logits(family: str) -> None:
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(pico_config(family)).eval()
    token_ids = torch.randint(10, 100, (2, 12), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = model(token_ids).logits
        hidden, stream = run_decoder(model, token_ids, stream=True)
        # the same operations on the same numbers
        assert_close(head_of(model).logits(hidden), expected, rtol=1e-5, atol=1e-5)
        finishing(model)
        found = model(token_ids, finish=lambda read, _, head: head.logits(read))
        plain_again(model)
        assert_close(found, expected, rtol=1e-5, atol=1e-5)
        assert_close(model(token_ids).logits, expected, rtol=0, atol=0)
    assert len(stream) == model.config.num_hidden_layers - 1
