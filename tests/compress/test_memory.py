"""What this process gives back to the system."""

import os
import subprocess
import sys

import pytest

CHILD = """
import ctypes, psutil
from dotresize.compress.memory import map_large_blocks
{setting}
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]
def resident(): return psutil.Process().memory_info().rss
libc.free(libc.malloc(31 << 20))       # glibc takes from what is freed what will be freed again
before, blocks = resident(), []
for _ in range(60):
    blocks.append(libc.malloc(3 << 20))
    ctypes.memset(blocks[-1], 1, 3 << 20)
    libc.malloc(2000)                  # lies behind it, and keeps the heap from shrinking
for block in blocks:
    libc.free(block)
print((resident() - before) >> 20)
"""


@pytest.mark.skipif(not os.confstr("CS_GNU_LIBC_VERSION"), reason="another C library than glibc")
def test_large_blocks_go_back_when_they_are_freed() -> None:
    def kept_megabytes(setting: str) -> int:
        command = [sys.executable, "-c", CHILD.format(setting=setting)]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert kept_megabytes("") > 100, "what this is about"
    assert kept_megabytes("map_large_blocks()") < 20
