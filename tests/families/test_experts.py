"""Whole experts fewer."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch.testing import assert_close

from dotresize.compress.record.config import CompressConfig
from dotresize.compress.run import compress
from dotresize.errors import WidthError
from dotresize.export.checkpoint.write import save

from ..text import TEXT
from .conftest import SaveFamily, logits_of, strictly_loaded

SHORT: dict[str, Any] = {"calibration": TEXT, "calibration_windows": 16, "window_tokens": 64}
UNUSED = 1
MIXTRAL_EXPERT = "model.layers.0.block_sparse_moe.experts"


def _never_chosen(directory: Path, into: Path) -> None:
    """A copy in which one expert serves each token, and one expert none.

    Its router row is the mean of the others' rows, so its logit is below the largest of theirs.
    """
    model = strictly_loaded(directory, torch.float32)
    model.config.num_experts_per_tok = 1
    for layer in model.model.layers:
        rows = layer.mlp.gate.weight.data
        others = [number for number in range(len(rows)) if number != UNUSED]
        rows[UNUSED] = rows[others].mean(0)
    model.save_pretrained(into)
    for file in directory.glob("*token*"):
        (into / file.name).write_bytes(file.read_bytes())


@pytest.mark.parametrize("compensate", ["none", "full"])
@pytest.mark.parametrize("family", ["mixtral", "qwen3_moe"])
def test_an_expert_that_serves_no_token_goes_without_a_trace(
    family: str, compensate: Any, save_family: SaveFamily, tmp_path: Path
) -> None:
    _never_chosen(save_family(family), tmp_path / "dense")
    config = CompressConfig(experts=3, compensate=compensate, **SHORT)
    result = compress(str(tmp_path / "dense"), config)
    assert (result.report.dense.num_experts, result.report.narrow.num_experts) == (4, 3)
    save(result, tmp_path / "narrow")
    wanted = logits_of(strictly_loaded(tmp_path / "dense", torch.float32))
    found = logits_of(strictly_loaded(tmp_path / "narrow", torch.float32))
    # the kept tensors are the dense ones; what is fitted starts at the exact solution, in float32
    assert_close(found, wanted, rtol=0, atol=1e-3 * float(wanted.abs().max()))


def test_experts_combine_with_the_other_axes(save_family: SaveFamily, tmp_path: Path) -> None:
    config = CompressConfig(experts=0.75, mlp_width=0.75, hidden_size=48, kv_groups=1, **SHORT)
    result = compress(str(save_family("mixtral")), config)
    notes = " ".join(result.report.notes)
    assert "hidden_size 48 is not a multiple of 32: vLLM on a CPU has no expert kernels for it" in notes
    assert "intermediate_size 72 is not a multiple of 32" in notes
    assert "with them: 64 or 96" in notes
    save(result, tmp_path / "narrow")
    with safe_open(tmp_path / "narrow" / "model.safetensors", framework="pt") as stored:
        # as published and as engines read them, not the stack that transformers has in memory
        shapes = [stored.get_slice(f"{MIXTRAL_EXPERT}.2.w{part}.weight").get_shape() for part in (1, 2, 3)]
    assert shapes == [[72, 48], [48, 72], [72, 48]]
    narrow = strictly_loaded(tmp_path / "narrow", torch.float32)
    assert narrow.model.layers[0].mlp.experts.gate_up_proj.shape == (3, 2 * 72, 48)
    assert_close(logits_of(narrow), logits_of(result.model), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("family", "experts", "complaint"),
    [
        ("mixtral", 1, "each token is served by 2; give at least 2"),
        ("qwen3_moe", 5, "the model has 4"),
        ("llama", 2, "Llama has no experts to remove"),
    ],
)
def test_what_cannot_be_is_refused(
    family: str, experts: int, complaint: str, save_family: SaveFamily
) -> None:
    with pytest.raises(WidthError, match=complaint):
        compress(str(save_family(family)), CompressConfig(experts=experts, **SHORT))
