"""A Qwen2 whose hidden width no longer is heads * head_dim, written as a Llama with biases in the attention.

Engines work Qwen2's head_dim out as hidden / heads and cannot hold it. Llama's head_dim stands in its config;
its `attention_bias` adds a bias to o_proj too, which Qwen2 does not have and which is zero.
"""

from pathlib import Path

import pytest
import torch

from dotresize.export.process.child import ChildError

from .conftest import SaveFamily, logits_of, stock, strictly_loaded
from .engine import compare_in_vllm
from .models.configs import pico_config
from .models.expressed import Expressed
from .models.float64 import Float64
from .models.reexpress import qwen2_as_llama


def test_the_function_is_the_same(save_family: SaveFamily) -> None:
    config = pico_config("qwen2")
    assert config.hidden_size != config.num_attention_heads * config.head_dim
    with Float64():
        qwen2 = strictly_loaded(save_family("qwen2"), torch.float64)
        llama = stock(qwen2_as_llama(Expressed(qwen2.config, dict(qwen2.state_dict()))), torch.float64)
        assert torch.equal(logits_of(llama), logits_of(qwen2))


@pytest.mark.slow
@pytest.mark.vllm
def test_vllm_does_not_run_the_qwen2(save_family: SaveFamily, tmp_path: Path) -> None:
    """That it runs the Llama is in test_engines.py."""
    with pytest.raises(ChildError):
        compare_in_vllm(save_family("qwen2"), tmp_path)
