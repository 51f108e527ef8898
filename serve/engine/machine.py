"""The machine as an engine will see it: what decides data type, threads and cache memory.

Memory is that of the NUMA node of the first core that this process may use, counted as vLLM's CPU worker
counts it (free + file pages + reclaimable, within the cgroup's limit), because the worker binds itself to
that node and refuses a cache that does not fit there.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import psutil

from ...export.for_vllm.processor import processor_flags

__all__ = ["Machine", "read_machine"]

KIBIBYTE = 1024
NATIVE_BFLOAT16_FLAGS = ("avx512_bf16", "amx_bf16", "bf16")  # the last one is Arm's


@dataclass(frozen=True, kw_only=True)
class Machine:
    """Facts about this machine."""

    gpus: int  # NVIDIA devices
    cores: int  # logical cores that this process may use
    available_memory_bytes: int
    native_bfloat16: bool  # the processor multiplies bfloat16 itself
    flags: frozenset[str]  # of the processor


def read_machine() -> Machine:
    """Read the facts; takes milliseconds and starts nothing."""
    cores, flags = sorted(os.sched_getaffinity(0)), processor_flags()
    return Machine(
        gpus=len(
            [path for path in Path("/dev").glob("nvidia[0-9]*") if path.name[len("nvidia") :].isdigit()]
        ),
        cores=len(cores),
        available_memory_bytes=_available_memory_bytes(_node_of_core(cores[0])),
        native_bfloat16=any(flag in flags for flag in NATIVE_BFLOAT16_FLAGS),
        flags=flags,
    )


def _node_of_core(core: int) -> int:
    nodes = Path(f"/sys/devices/system/cpu/cpu{core}").glob("node[0-9]*")
    return min((int(node.name.removeprefix("node")) for node in nodes), default=0)


def _available_memory_bytes(node: int) -> int:
    path = Path(f"/sys/devices/system/node/node{node}/meminfo")
    available = psutil.virtual_memory().available
    if path.exists():
        fields = {
            words[2].rstrip(":"): int(words[3]) * KIBIBYTE
            for words in (line.split() for line in path.read_text().splitlines())
        }
        names = ("MemFree", "Active(file)", "Inactive(file)", "SReclaimable")
        available = min(available, sum(fields[name] for name in names))
    limit = _cgroup_number("memory.max", "memory/memory.limit_in_bytes")
    used = _cgroup_number("memory.current", "memory/memory.usage_in_bytes")
    if limit is not None and used is not None:
        available = min(available, max(0, limit - used))
    return available


def _cgroup_number(version2: str, version1: str) -> int | None:
    for name in (version2, version1):
        path = Path("/sys/fs/cgroup") / name
        if path.exists():
            text = path.read_text().strip()
            return int(text) if text.isdigit() else None
    return None
