"""`MODEL@w8a8`: a model that the benchmark quantises first, as another way to the same bytes."""

import os
from pathlib import Path
from typing import NamedTuple, get_args

from ...errors import InputError, OptionError
from ...export.disk.model_files import read_config
from ...export.for_vllm.config import Quantisation, refuse_without_kernel
from ...export.for_vllm.processor import processor_flags
from ...export.for_vllm.to_vllm import VllmConfig, export_vllm
from ..record.settings import BenchSettings, Precision

__all__ = ["Named", "check_baselines", "named", "quantised"]

_WEIGHTS = tuple(name for name in get_args(Quantisation) if name != "none")
# Of calibrated rounding; none of them is what `--evaluation builtin` measures on.
_CALIBRATION = ("builtin:documentation", "builtin:code", "builtin:chat")
_WINDOWS, _WINDOW_TOKENS = 16, 512


class Named(NamedTuple):
    """A model as the user named it, and the precision behind an `@`; None: as it is."""

    model: str
    precision: str | None


def named(source: str) -> Named:
    """Take `MODEL@PRECISION` apart; what exists under the whole name is no baseline."""
    model, sign, precision = source.rpartition("@")
    known = precision in (*_WEIGHTS, *get_args(Precision))
    if not sign or not known or os.path.exists(source):  # noqa: PTH110  # any text may be asked for
        return Named(source, None)
    return Named(model, precision)


def check_baselines(sources: list[str], settings: BenchSettings) -> None:
    """Refuse, before any model is read, baselines that the run cannot have.

    Args:
        sources: as the user named them.
        settings: settled.

    Raises:
        OptionError: a precision that the engine, the device or the dtype of the run does not have.
        InputError: the same baseline is named twice.
    """
    if len(set(sources)) < len(sources) and any(named(source).precision for source in sources):
        raise InputError(
            "a model is named twice; a baseline differs from it by its precision, as in M M@w8a8"
        )
    for source in sources:
        precision = named(source).precision
        if precision is None:
            continue
        possible = {"vllm": _WEIGHTS, "onnx": get_args(Precision)}.get(settings.engine, ())
        if precision not in possible:
            has = f"has {', '.join(possible)}" if possible else "runs models as they are stored"
            raise OptionError(f"{source}: the {settings.engine} engine {has}")
        if settings.engine == "vllm":
            refuse_without_kernel(precision, gpu=settings.device == "cuda", flags=processor_flags())
            if settings.dtype == "float32":
                raise OptionError(
                    f"{source}: quantised weights run with bfloat16 or float16 around them, and this run is "
                    "float32; give --dtype bfloat16"
                )


def quantised(checkpoint: Path, target: Path, precision: str, settings: BenchSettings) -> None:
    """Write a quantised export of a checkpoint of ours, by calibrated rounding.

    Raises:
        InputError: it cannot be quantised, naming why.
    """
    longest = read_config(checkpoint).get("max_position_embeddings") or _WINDOW_TOKENS
    config = VllmConfig(
        dtype=settings.dtype,  # type: ignore[arg-type]  # settled, and not float32
        quantize=precision,  # type: ignore[arg-type]  # one of _WEIGHTS
        calibration=_CALIBRATION,
        calibration_windows=_WINDOWS,
        window_tokens=min(_WINDOW_TOKENS, int(longest)),
        seed=settings.seed,
        device=settings.device,
        provider=settings.device,
    )
    export_vllm(checkpoint, target, config)
