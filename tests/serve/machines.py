"""Two machines to plan a serving for: one without GPUs, one with eight."""

from dotresize.serve.engine.machine import Machine
from dotresize.serve.engine.vllm_command import GIBIBYTE

__all__ = ["AMX", "LAPTOP", "NODE"]

AMX = frozenset({"avx512f", "amx_tile"})
LAPTOP = Machine(
    gpus=0,
    cores=8,
    available_memory_bytes=16 * GIBIBYTE,
    native_bfloat16=False,
    flags=frozenset({"avx512f"}),
)
NODE = Machine(
    gpus=8,
    cores=128,
    available_memory_bytes=1000 * GIBIBYTE,
    native_bfloat16=True,
    flags=AMX,
)
