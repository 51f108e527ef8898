"""A narrow pico of every family, of widths that every engine here has kernels for."""

from pathlib import Path
from typing import Any

from dotresize.compress.families.rows import FAMILIES
from dotresize.compress.record.config import CompressConfig
from dotresize.compress.run import compress
from dotresize.export.checkpoint.write import save

from ...text import TEXT

__all__ = ["save_narrowed"]

SQUARE = {"hidden_size": 96, "kv_groups": 3}  # heads of 32 that follow the width
AXES: dict[str, dict[str, Any]] = {
    "opt": SQUARE,
    "gpt2": SQUARE,
    "gpt_neox": SQUARE,
    "gemma2": {"hidden_size": 48, "method": "magnitude"},
    "gemma3_text": {"hidden_size": 48, "method": "magnitude"},
    "olmo2": {"hidden_size": 48, "method": "magnitude"},
    "cohere": {"kv_groups": 1},
    "mixtral": {"hidden_size": 32, "kv_groups": 1},  # vLLM on a CPU has experts in multiples of 32
    "qwen3_moe": {"hidden_size": 32, "kv_groups": 1},
}


def save_narrowed(family: str, dense: Path, into: Path, **changes: Any) -> None:
    """Narrow a pico of a family on two axes or more, and save it as `dotresize compress` does."""
    assert family in FAMILIES
    axes = AXES.get(family, {"hidden_size": 48})
    options: dict[str, Any] = {"intermediate_size": 64, "calibration_windows": 8, "window_tokens": 64}
    save(compress(str(dense), CompressConfig(calibration=TEXT, **options | axes | changes)), into)
