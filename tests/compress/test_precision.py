"""Reduced precision is asked for inside the block only."""

import pytest
import torch

from dotresize.compress.precision import fast_products


def test_the_setting_is_restored_after_success_and_after_an_error() -> None:
    before = torch.get_float32_matmul_precision()
    with fast_products():
        assert torch.get_float32_matmul_precision() == "medium"
    assert torch.get_float32_matmul_precision() == before
    with pytest.raises(ZeroDivisionError), fast_products():
        raise ZeroDivisionError
    assert torch.get_float32_matmul_precision() == before
