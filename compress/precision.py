"""How exactly matrix products are computed where a few digits are enough."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["fast_products"]


@contextmanager
def fast_products() -> Iterator[None]:
    """Let float32 matrix products use bfloat16 inputs where the hardware has units for them."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
