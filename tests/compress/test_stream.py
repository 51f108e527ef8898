"""Residual streams in memory and in files, as they are and in half the bits."""

from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from dotresize.compress.streams.stream import StreamRoom

VALUES = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("in_file", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_is_read_in_single_precision_whatever_it_is_kept_in(
    tmp_path: Path, in_file: bool, dtype: torch.dtype
) -> None:
    room = StreamRoom(directory=tmp_path if in_file else None, dtype=dtype)
    stream = room.filled(3, 5, lambda batch: VALUES[batch])
    assert stream.values.dtype == dtype
    assert stream[0:3].dtype == torch.float32
    assert_close(stream[0:3], VALUES.to(dtype).float(), atol=0, rtol=0)
    stream.add(slice(1, 3), torch.full((2, 5, 8), 1e-3))
    wanted = (VALUES[1:3].to(dtype).float() + 1e-3).to(dtype).float()
    assert_close(stream[1:3], wanted, atol=0, rtol=0)
    assert_close(room.copy(stream)[0:3], stream[0:3], atol=0, rtol=0)
    assert not list(tmp_path.iterdir()), "the file has no name"


def test_double_precision_stays(tmp_path: Path) -> None:
    room = StreamRoom(directory=tmp_path, dtype=torch.bfloat16)
    assert room.filled(3, 5, lambda batch: VALUES.double()[batch])[0:3].dtype == torch.float64
