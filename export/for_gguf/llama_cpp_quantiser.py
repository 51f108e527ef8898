"""Quantise a GGUF file of floats by llama.cpp, through llama-cpp-python: a child process of `quantise.py`.

It is a process of its own because llama.cpp prints, and where it fails it may end the process that holds it.
"""

import ctypes
import os
import sys
from typing import Any

import llama_cpp

FAILED = "failed to quantize:"  # how llama.cpp begins the reason


def main(floats: str, target: str, kind: str, importance: str = "") -> None:
    """Write `target` from `floats`; `importance` names a safetensors file of weights per tensor and input."""
    reasons: list[str] = []

    @llama_cpp.llama_log_callback  # type: ignore[untyped-decorator]
    def hear(_level: int, text: bytes, _data: object) -> None:
        said = text.decode("utf-8", errors="replace")
        if FAILED in said:
            reasons.append(said.partition(FAILED)[2].strip())
        sys.stdout.write(said)
        sys.stdout.flush()

    llama_cpp.llama_log_set(hear, ctypes.c_void_p(0))
    wanted = llama_cpp.llama_model_quantize_default_params()
    wanted.nthread = len(os.sched_getaffinity(0))  # its default are all processors of the machine
    wanted.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{kind.upper()}")
    kept = importance_of(importance) if importance else ()  # what llama.cpp reads must outlive the call
    if kept:
        wanted.imatrix = kept[0]
    code = llama_cpp.llama_model_quantize(os.fsencode(floats), os.fsencode(target), ctypes.byref(wanted))
    if code:
        raise RuntimeError(f"{FAILED} {reasons[-1] if reasons else f'code {code}'}")
    assert "dotresize" not in sys.modules, "the child must not depend on dotresize"


def importance_of(file: str) -> tuple[Any, ...]:
    """An array of entries that one without a name ends, and what they point at."""
    from safetensors.numpy import load_file

    values = load_file(file)  # tensor -> (inputs,) float32
    names = [name.encode() for name in values]
    # Zeros, so that the last entry, which has no name, ends the array.
    entries = (llama_cpp.llama_model_imatrix_data * (len(values) + 1))()
    for entry, name, weights in zip(entries, names, values.values(), strict=False):
        entry.name = name
        entry.data = weights.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        entry.size = weights.size
    return entries, names, values


if __name__ == "__main__":
    main(*sys.argv[1:])
