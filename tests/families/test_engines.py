"""Narrow picos in stock vLLM: one of each kind of layout, or all of them.

The families that a plain run leaves out differ from one of these in numbers only. Each start takes a quarter
of a minute, so all of them run where DOTRESIZE_ALL_FAMILIES is set; docs/LOG.md has what that gave. All
reload strictly in transformers (test_exact_narrowing.py).
"""

import os
from pathlib import Path

import pytest

from dotresize.compress.families.rows import FAMILIES

from .conftest import SaveFamily
from .engine import compare_in_vllm
from .models.narrowed import save_narrowed

KINDS = (
    "qwen2",  # written as a Llama with biases
    "gemma3_text",  # norms before, behind and inside
    "mixtral",  # experts in stacks
    "gpt2",  # LayerNorm, Conv1D, two embeddings, heads that follow the width
)


@pytest.mark.slow
@pytest.mark.vllm
@pytest.mark.parametrize("family", FAMILIES if os.environ.get("DOTRESIZE_ALL_FAMILIES") else KINDS)
def test_stock_vllm_computes_what_stock_transformers_does(
    family: str, save_family: SaveFamily, tmp_path: Path
) -> None:
    own = {"hidden_size": None, "method": None} if FAMILIES[family].vllm_ties_head else {}
    save_narrowed(family, save_family(family), tmp_path / "narrow", **own)
    found = compare_in_vllm(tmp_path / "narrow", tmp_path)
    assert found.greedy_equal
    assert found.worst_log_probability < 1e-4  # float32 in two summation orders
