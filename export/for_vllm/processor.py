"""What vLLM 0.32 does with quantised weights on this machine's processor.

Its library for processors without AVX-512 (`_C_AVX2`) has no `cpu_gemm_wna16`, the kernel for 4-bit weights:
the engine starts and fails in its first step. With AMX the kernel rounds activations to 8 bits, unless the
variable below says otherwise; measured on SmolLM2, KL 0.32 instead of 0.19 (docs/LOG.md).
"""

import os
import platform
from pathlib import Path

__all__ = ["INT4_VARIABLE", "has_int4_kernel", "int4_settings", "processor_flags"]

INT4_VARIABLE = "VLLM_CPU_INT4_W4A8"


def processor_flags() -> frozenset[str]:
    """What the kernel says this processor has, such as avx2 or amx_tile."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    lines = (line.partition(":") for line in text.splitlines())
    return frozenset(
        flag for name, _, value in lines if name.strip() in ("flags", "Features") for flag in value.split()
    )


def has_int4_kernel(flags: frozenset[str], architecture: str | None = None) -> bool:
    """Whether vLLM can multiply 4-bit weights on a processor; of others than x86 it is not known, so True."""
    return (architecture or platform.machine()) not in ("x86_64", "AMD64") or "avx512f" in flags


def int4_settings(precision: str, dtype: str, flags: frozenset[str]) -> dict[str, str]:
    """The setting that keeps activations as they are beside 4-bit weights.

    Args:
        precision: Of the stored weights, as the manifest names it.
        dtype: That the engine computes in.
        flags: Of the processor that will do it.

    Returns:
        For the engine's environment; empty where it changes nothing, or where the user has chosen.
    """
    rounds = precision == "w4a16" and dtype == "bfloat16" and "amx_tile" in flags
    return {INT4_VARIABLE: "0"} if rounds and INT4_VARIABLE not in os.environ else {}
