"""What this process gives back to the system."""

import os
import subprocess
import sys

import pytest

CHILD = """
import ctypes, psutil
from dotresize.compress.streams.memory import release_free_blocks
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
def resident(): return psutil.Process().memory_info().rss
libc.free(libc.malloc(31 << 20))       # glibc takes from what is freed what will be freed again
before, blocks = resident(), []
for _ in range({count}):
    blocks.append(libc.malloc({size}))
    ctypes.memset(blocks[-1], 1, {size})
    libc.malloc(2000)                  # lies behind it, and keeps the heap from shrinking
for block in blocks:
    libc.free(block)
{after}
print((resident() - before) >> 20)
"""


def kept_megabytes(*, size: int, after: str = "") -> int:
    """What is still resident of 180 MiB in blocks of a size that were all freed."""
    child = CHILD.format(size=size, count=(180 << 20) // size, after=after)
    command = [sys.executable, "-c", child]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(not os.confstr("CS_GNU_LIBC_VERSION"), reason="another C library than glibc")
@pytest.mark.parametrize("size", [3 << 20, 100 << 10])
def test_blocks_go_back_when_the_heap_is_trimmed(size: int) -> None:
    assert kept_megabytes(size=size) > 100, "what this is about"
    assert kept_megabytes(size=size, after="release_free_blocks()") < 20
