"""Gemma 2 caps attention scores; transformers' default attention silently does not."""

import torch
from torch.testing import assert_close
from transformers import AutoModelForCausalLM

from dotresize.compress.record.config import CompressConfig
from dotresize.compress.run import compress
from dotresize.compress.weights.source import load_dense

from ..text import TEXT
from .conftest import SaveFamily, logits_of, strictly_loaded


def test_a_cap_on_attention_scores_is_computed(save_family: SaveFamily) -> None:
    directory = save_family("gemma2")
    dense = load_dense(str(directory))
    capped = logits_of(strictly_loaded(directory, torch.float32))
    assert_close(logits_of(dense.model), capped, rtol=0, atol=1e-5)
    config = CompressConfig(
        hidden_size=64, method="magnitude", compensate="none", calibration=TEXT, window_tokens=64
    )
    # full width: the same function, so the narrow model has to compute the cap as well
    assert_close(logits_of(compress(dense, config).model), capped, rtol=0, atol=1e-3)
    default = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    assert (logits_of(default) - capped).abs().max() > 0.1
