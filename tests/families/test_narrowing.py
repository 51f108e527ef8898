"""Every family through the whole compression: exact at full width, loadable and sane when narrow."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from dotresize.compress.families.rows import FAMILIES
from dotresize.compress.record.config import CompressConfig, Method
from dotresize.compress.run import CompressResult, compress
from dotresize.compress.text.calibration import draw_windows
from dotresize.compress.weights.source import DenseModel, load_dense
from dotresize.export.checkpoint.write import save

from ..text import TEXT
from .conftest import SaveFamily, logits_of, strictly_loaded

BASE = CompressConfig(
    width=1.0, mlp_width=1.0, calibration=TEXT, calibration_windows=4, window_tokens=64, compensate="none"
)


def method_of(family: str) -> Method:
    return "pca" if FAMILIES[family].rotates else "magnitude"


@torch.no_grad()
def logits_on(result: CompressResult | DenseModel, tokens: torch.Tensor) -> torch.Tensor:
    logits: torch.Tensor = result.model(tokens, use_cache=False).logits
    return logits.log_softmax(-1)


def narrowed(directory: Path, **changes: object) -> CompressResult:
    return compress(str(directory), replace(BASE, **changes))  # type: ignore[arg-type]


@pytest.mark.parametrize("compensate", ["none", "full"])
@pytest.mark.parametrize("family", FAMILIES)
def test_full_width_in_a_rotated_basis_gives_the_same_logits(
    family: str, compensate: str, save_family: SaveFamily
) -> None:
    directory = save_family(family)
    if FAMILIES[family].limit("hidden", None) is not None:
        pytest.skip(f"{family} keeps its hidden size")
    result = narrowed(directory, method=method_of(family), compensate=compensate)
    found, wanted = logits_of(result.model), logits_of(load_dense(str(directory)).model)
    # float32 through three layers, and fits whose prior is exact
    assert_close(found, wanted, atol=2e-3 if compensate == "full" else 3e-4, rtol=1e-3)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_narrow_model_reloads_strictly_and_is_better_with_the_fits(
    family: str, save_family: SaveFamily, tmp_path: Path
) -> None:
    directory = save_family(family)
    dense = load_dense(str(directory))
    tokens = draw_windows(TEXT, dense.tokenizer, windows=None, window_tokens=64, seed=0).token_ids[-8:]
    wanted = logits_on(dense, tokens)
    square = dense.family.ties_head_dim(dense.model.config) and dense.family.rewritten_as is None
    axes: dict[str, Any] = (
        {"kv_groups": 3, "hidden_size": 96} if square else {"hidden_size": 48}
    )  # heads of 32
    axes["method"] = method_of(family)
    if dense.family.limit("hidden", dense.model.config) is not None:
        axes = {"kv_groups": 1}
    shape = {"width": None, "mlp_width": 0.75, **axes}

    def divergence(compensate: str) -> tuple[float, CompressResult]:
        result = compress(dense, replace(BASE, **shape, compensate=compensate, calibration_windows=20))  # type: ignore[arg-type]
        found = logits_on(result, tokens)
        return float((wanted.exp() * (wanted - found)).sum(-1).mean()), result

    unfitted, _ = divergence("none")
    fitted, result = divergence("full")
    assert fitted < unfitted
    save(result, tmp_path / "narrow")
    reloaded = strictly_loaded(tmp_path / "narrow", torch.float32)
    assert reloaded.config.hidden_size == axes.get("hidden_size", dense.model.config.hidden_size)
    assert_close(logits_of(reloaded), logits_of(result.model), atol=1e-5, rtol=1e-5)
    counted = sum(parameter.numel() for parameter in reloaded.parameters())
    assert result.report.narrow_counts.total_parameters == counted
