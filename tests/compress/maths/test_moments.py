"""The blocked sum equals the plain one, at widths around the block."""

import pytest
import torch
from torch.testing import assert_close

from dotresize.compress.maths.moments import second_moment


@pytest.mark.parametrize("width", [1, 255, 256, 257, 600])
def test_blocks_add_up_to_the_plain_product(width: int) -> None:
    generator = torch.Generator().manual_seed(width)
    first, second = (torch.randn(40, width, generator=generator) for _ in range(2))
    total = torch.zeros(width, width, dtype=torch.float64)
    second_moment(total, first)
    second_moment(total, second)
    rows = torch.cat((first, second)).double()
    assert_close(total, rows.T @ rows, atol=1e-12, rtol=1e-12)
    assert torch.equal(total, total.T)
