"""Reduced precision is asked for inside the block only."""

import pytest
import torch

from dotresize.compress.maths.precision import evaluation_dtype, fast_products, has_fast_bfloat16


def test_the_setting_is_restored_after_success_and_after_an_error() -> None:
    before = torch.get_float32_matmul_precision()
    with fast_products():
        assert torch.get_float32_matmul_precision() == "medium"
    assert torch.get_float32_matmul_precision() == before
    with pytest.raises(ZeroDivisionError), fast_products():
        raise ZeroDivisionError
    assert torch.get_float32_matmul_precision() == before


def test_halves_are_evaluated_in_float32_where_the_processor_has_no_units_for_them() -> None:
    cpu = torch.device("cpu")
    halves = {evaluation_dtype(cpu, dtype) for dtype in (torch.bfloat16, torch.float16)}
    assert halves == ({torch.bfloat16, torch.float16} if has_fast_bfloat16(cpu) else {torch.float32})
    assert evaluation_dtype(cpu, torch.float32) == torch.float32
    assert evaluation_dtype(torch.device("cuda"), torch.bfloat16) == torch.bfloat16
