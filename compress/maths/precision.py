"""How exactly matrix products are computed where a few digits are enough."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["evaluation_dtype", "fast_products", "has_fast_bfloat16"]


@contextmanager
def fast_products() -> Iterator[None]:
    """Let float32 matrix products use bfloat16 inputs where the hardware has units for them."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether products of bfloat16 matrices are quicker there than those of float32 ones."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return device.type == "cpu" and bool(torch.cpu._is_avx512_bf16_supported())


def evaluation_dtype(device: torch.device, stored: torch.dtype) -> torch.dtype:
    """In which a model is evaluated: as stored, or in float32 where products of halves are slower.

    Args:
        device: where it runs.
        stored: of its weights.
    """
    is_half = stored in (torch.bfloat16, torch.float16)
    return torch.float32 if is_half and device.type == "cpu" and not has_fast_bfloat16(device) else stored
