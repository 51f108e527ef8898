"""Narrowing that removes nothing: every axis at once, in every family, without and with the fits."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.testing import assert_close

from dotresize.compress.families.rows import FAMILIES
from dotresize.compress.record.config import CompressConfig
from dotresize.compress.run import compress
from dotresize.export.checkpoint.write import save

from ..text import TEXT
from .conftest import SaveFamily, logits_of, strictly_loaded
from .models.dead_parts import confine_stream, silence_group, silence_neurons


def _directions(width: int, rank: int, *, rotated: bool) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    if not rotated:
        return torch.eye(width)[:, torch.randperm(width, generator=generator)[:rank].sort().values]
    return torch.linalg.qr(torch.randn(width, rank, generator=generator, dtype=torch.float64))[0].float()


@pytest.mark.parametrize("compensate", ["none", "full"])
@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_alive_is_kept(family: str, compensate: Any, save_family: SaveFamily, tmp_path: Path) -> None:
    row = FAMILIES[family]
    model = strictly_loaded(save_family(family), torch.float32)
    silence_neurons(model, 24)
    axes: dict[str, Any] = {"intermediate_size": 72}
    width = model.config.hidden_size
    if row.limit("hidden", model.config) is None:
        width = axes["hidden_size"] = 3 * width // 4
        axes["method"] = "pca" if row.rotates else "magnitude"
        rank = width - (row.norm_kind == "layer")
        confine_stream(model, _directions(model.config.hidden_size, rank, rotated=row.rotates))
    if row.limit("kv_groups", model.config) is None:
        groups = getattr(model.config, "num_key_value_heads", None) or model.config.num_attention_heads
        silence_group(model, 1)
        axes["kv_groups"] = groups - 1
    model.save_pretrained(tmp_path / "dense")
    for file in save_family(family).glob("*token*"):
        (tmp_path / "dense" / file.name).write_bytes(file.read_bytes())
    config = CompressConfig(
        **axes, compensate="none", calibration=TEXT, calibration_windows=16, window_tokens=64,
    )  # fmt: skip
    result = compress(str(tmp_path / "dense"), replace(config, compensate=compensate))
    save(result, tmp_path / "narrow")
    narrow = strictly_loaded(tmp_path / "narrow", torch.float32)
    assert narrow.config.hidden_size == width
    # float32 through three layers with gains up to 1.5; fits start from the exact solution
    wanted = logits_of(model)
    assert_close(logits_of(narrow), wanted, rtol=0, atol=1e-3 * float(wanted.abs().max()))
