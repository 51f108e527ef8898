"""At full width nothing is lost: in float64 the narrow model is the dense one to 1e-10, in every family.

Float32 hides what is wrong by less than its rounding: an epsilon that was not rescaled, a multiplier rounded
on the way, a mean left in the stream. Here every cast to float32 is one to float64 (float64.py).
"""

from dataclasses import replace

import pytest
import torch

from dotresize.compress.families.rows import FAMILIES
from dotresize.compress.run import compress
from dotresize.compress.weights.source import load_dense

from .conftest import SaveFamily, logits_of, strictly_loaded
from .models.float64 import Float64
from .test_narrowing import BASE, method_of


@pytest.mark.parametrize("family", FAMILIES)
def test_full_width_is_exact(family: str, save_family: SaveFamily) -> None:
    """In the basis of the principal directions where the family can rotate, else in its own coordinates."""
    directory = save_family(family)
    dense = load_dense(str(directory))
    config = replace(BASE, method=method_of(family))
    if dense.family.limit("hidden", dense.model.config) is not None:
        config = replace(config, width=None, method=None)
    with Float64():
        dense = replace(dense, model=strictly_loaded(directory, torch.float64).requires_grad_(False))
        result = compress(dense, config)
        found, wanted = logits_of(result.model), logits_of(dense.model)
    assert (found.dtype, wanted.dtype) == (torch.float64, torch.float64)
    assert wanted.std() > 0.2  # logits that differ: agreement says something
    # logits of size 1 to 20 after two dozen float64 products in a row
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-10)
