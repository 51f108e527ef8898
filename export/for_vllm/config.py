"""What a checkpoint for vLLM is to be, checked as far as that goes without reading one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from ...errors import OptionError
from ..contract.calibration import CalibrationOptions
from .processor import has_int4_kernel

__all__ = ["DEFAULT_GROUP", "GROUPED", "VllmConfig", "has_gpu", "refuse_without_kernel"]

Dtype = Literal["bfloat16", "float16", "float32"]
Quantisation = Literal["none", "fp8", "w8a8", "w8a16", "w4a16"]
Rounding = Literal["nearest", "calibrated"]
_KERNEL_STEP = 16  # vLLM's scaled matrix products want both sides to be multiples of it
DEFAULT_GROUP = 32
GROUPED = ("w4a16", "w8a16")
_NOT_ON_CPU = ("fp8", "w8a16")  # vLLM 0.32: kernels for 4-bit weights and for 8 bits on both sides only


@dataclass(frozen=True, kw_only=True)
class VllmConfig(CalibrationOptions):
    """What to export; a calibration is what calibrated rounding looks at.

    Attributes:
        dtype: Of the stored weights, or of what stays unquantised.
        quantize: none; fp8 and w8a8 (one scale per output row, activations rounded per token); w8a16 and
            w4a16 (one scale per group of weights).
        group_size: Weights per scale of w4a16 and w8a16; divides every row length.
        rounding: calibrated, each matrix with what the calibration shows of its inputs, or nearest; None is
            calibrated where a calibration is named.
        provider: What will run the result: cpu or cuda; auto is what this machine has.
        shard_bytes: Upper bound of one safetensors file.

    Raises:
        OptionError: An unknown choice, or one that cannot take effect.
    """

    dtype: Dtype = "bfloat16"
    quantize: Quantisation = "none"
    group_size: int | None = None
    rounding: Rounding | None = None
    provider: str = "auto"
    shard_bytes: int = 5_000_000_000

    def __post_init__(self) -> None:
        for name, value, known in (
            ("dtype", self.dtype, get_args(Dtype)),
            ("quantize", self.quantize, get_args(Quantisation)),
            ("rounding", self.rounding, (None, *get_args(Rounding))),
            ("provider", self.provider, ("auto", "cpu", "cuda")),
        ):
            if value not in known:
                names = ", ".join(filter(None, known))
                raise OptionError(f"--{name} {value} is unknown, expected one of {names}")
        if self.group_size is not None and self.quantize not in GROUPED:
            raise OptionError(
                f"--group-size has no effect on --quantize {self.quantize}; it belongs to w4a16 and w8a16"
            )
        if self.group_size is not None and self.group_size < 1:
            raise OptionError(f"--group-size is {self.group_size}, expected a positive number such as 32")
        if self.quantize != "none" and self.dtype == "float32":
            raise OptionError("quantised weights run with bfloat16 or float16 around them, not float32")
        if self.shard_bytes < 1:
            raise OptionError(f"--shard-bytes is {self.shard_bytes}, expected a positive number")
        self._check_rounding()
        if self.quantize != "none":
            refuse_without_kernel(self.quantize, gpu=self.for_gpu)

    def _check_rounding(self) -> None:
        if self.quantize == "none" and (self.rounding is not None or self.calibration):
            raise OptionError(
                f"--{'calibration' if self.calibration else 'rounding'} has no effect on --quantize none; "
                "choose w4a16, w8a8, w8a16 or fp8"
            )
        if self.rounding == "nearest" and self.calibration:
            raise OptionError("--calibration has no effect on --rounding nearest; leave one of them out")
        if self.rounding == "calibrated" and not self.calibration:
            raise OptionError("--rounding calibrated needs a text: give --calibration builtin, or your own")
        super().__post_init__()

    @property
    def for_gpu(self) -> bool:
        """Whether a GPU will run the result."""
        return has_gpu() if self.provider == "auto" else self.provider == "cuda"

    @property
    def scale_group(self) -> int | None:
        """Weights that share a scale; None: a whole row."""
        return (self.group_size or DEFAULT_GROUP) if self.quantize in GROUPED else None

    @property
    def step(self) -> int:
        """What every row length must be a multiple of."""
        return 1 if self.quantize == "none" else self.scale_group or _KERNEL_STEP

    @property
    def weight_bytes(self) -> float:
        """What one weight of a matrix takes at least."""
        plain = {"float32": 4.0}.get(self.dtype, 2.0)
        return {"none": plain, "w4a16": 0.5}.get(self.quantize, 1.0)


def has_gpu() -> bool:
    """Whether this machine has an NVIDIA GPU."""
    return Path("/dev/nvidiactl").exists()


def refuse_without_kernel(precision: str, *, gpu: bool, flags: frozenset[str] | None = None) -> None:
    """Refuse weights that vLLM cannot multiply there.

    Args:
        precision: Of the stored weights, as the manifest names it.
        gpu: Whether an NVIDIA GPU will do it.
        flags: Of the processor that will do it otherwise; None: any that vLLM runs on.

    Raises:
        OptionError: There is no kernel.
    """
    if precision in _NOT_ON_CPU and not gpu:
        raise OptionError(
            f"vLLM has no kernel for {precision} on a CPU, and no NVIDIA GPU will run it here; use w8a8 or "
            "w4a16, or export with --provider cuda for a machine that has one"
        )
    if precision == "w4a16" and not gpu and flags is not None and not has_int4_kernel(flags):
        raise OptionError(
            "vLLM has no kernel for w4a16 on this processor, which lacks AVX-512; use w8a8 here, or run "
            "it on a processor with AVX-512 or an NVIDIA GPU"
        )
