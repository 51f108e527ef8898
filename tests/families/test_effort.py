"""Every family with every effort: what is trained is what the family's rows name, and it never errs more."""

import pytest
import torch

from dotresize.compress.families.rows import FAMILIES
from dotresize.compress.record.config import CompressConfig
from dotresize.compress.run import compress

from ..text import TEXT
from .conftest import SaveFamily


@pytest.mark.parametrize("family", FAMILIES)
def test_thorough_trains_every_family(family: str, save_family: SaveFamily) -> None:
    config = CompressConfig(
        mlp_width=0.5, calibration=TEXT, calibration_windows=8, window_tokens=64, effort="thorough"
    )
    result = compress(str(save_family(family)), config)
    held = [fit for fit in result.report.fits if fit.site.endswith(".held")]
    assert len(held) == 2 * result.report.narrow.num_hidden_layers
    assert all(fit.error_after <= fit.error_before for fit in held)
    assert any(fit.error_after < fit.error_before for fit in held)
    assert all(bool(parameter.isfinite().all()) for parameter in result.model.parameters())
    assert not any(parameter.requires_grad for parameter in result.model.parameters())
    assert torch.is_grad_enabled()
