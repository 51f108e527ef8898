"""Narrow picos in stock vLLM: one of each kind of layout.

The families not named here differ from one of these in numbers only. All reload strictly in transformers
(test_exact_narrowing.py).
"""

from pathlib import Path
from typing import Any

import pytest

from dotresize.compress.config import CompressConfig
from dotresize.compress.run import compress
from dotresize.export.checkpoint import save

from .conftest import SaveFamily
from .engine import compare_in_vllm

TEXT = str(Path(__file__).parents[1] / "compress" / "text.txt")
KINDS: dict[str, dict[str, Any]] = {
    "qwen2": {"hidden_size": 48},  # written as a Llama with biases
    "gemma3_text": {"hidden_size": 48, "method": "magnitude"},  # norms before, behind and inside
    "mixtral": {"hidden_size": 32, "kv_groups": 1},  # experts in stacks; CPU kernels take multiples of 32
    "gpt2": {
        "hidden_size": 96,
        "kv_groups": 3,
    },  # LayerNorm, Conv1D, two embeddings, heads that follow the width
}


@pytest.mark.slow
@pytest.mark.parametrize("family", KINDS)
def test_stock_vllm_computes_what_stock_transformers_does(
    family: str, save_family: SaveFamily, tmp_path: Path
) -> None:
    config = CompressConfig(
        **KINDS[family], intermediate_size=64, calibration=TEXT, calibration_windows=8, window_tokens=64
    )
    save(compress(str(save_family(family)), config), tmp_path / "narrow")
    found = compare_in_vllm(tmp_path / "narrow", tmp_path)
    assert found.greedy_equal
    assert found.worst_log_probability < 1e-4  # float32 in two summation orders
