"""One spelling of a dtype for all formats, and what each format calls it."""

__all__ = ["canonical", "gguf_type", "onnx_precision"]

_ONNX = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}
_GGUF = {"float32": "f32", "float16": "f16", "bfloat16": "bf16"}
_CANONICAL = {short: name for names in (_ONNX, _GGUF) for name, short in names.items()}


def canonical(dtype: str) -> str:
    """`float32` for fp32 and f32, and so on; anything else as it is."""
    return _CANONICAL.get(dtype, dtype)


def onnx_precision(dtype: str) -> str:
    """What ONNX exports call it."""
    return _ONNX.get(canonical(dtype), dtype)


def gguf_type(dtype: str) -> str:
    """What GGUF files call it."""
    return _GGUF.get(canonical(dtype), dtype)
