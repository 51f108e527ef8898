"""What the user asks of a compression: one frozen, validated record."""

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from ..errors import OptionError

__all__ = ["Compensation", "CompressConfig", "Mass", "Method", "MlpMethod"]

Method = Literal["dot", "magnitude", "pca", "pca+dot"]
MlpMethod = Literal["dot", "magnitude"]
Compensation = Literal["none", "readout", "full"]
Mass = Literal["uniform", "energy"]
_DTYPES = ("auto", "float32", "bfloat16", "float16")
_DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True, kw_only=True)
class CompressConfig:
    """Options of one compression. A width left None stays as it is.

    Attributes:
        width: new hidden size as a fraction of the old one, in (0, 1]; rounded to the nearest legal width.
        hidden_size: new hidden size, exactly; excludes `width`.
        mlp_width: new MLP width as a fraction, in (0, 1]; rounded to the nearest multiple of 64, 8 or 1.
        intermediate_size: new MLP width, exactly; excludes `mlp_width`.
        method: how the residual basis is found.
        mlp_method: how MLP neurons are reduced.
        compensate: closed-form fits on the calibration tokens: none (fold only), readout (what each
            norm feeds its readers), full (readout, and every matrix that writes to the residual).
        reg: entropic regularisation of the transport, on costs scaled to [0, 1]; 0 solves it exactly.
        signed: let a neuron merge with the negative of another.
        mass: marginals of the MLP transport: uniform (the paper) or proportional to output energy.
        ridge_tokens: pull of the fits towards the unfitted weights, which count as much as this many
            calibration tokens; so more calibration trusts the fits more.
        neuron_steps: with full compensation, Gauss-Newton steps that also fit each MLP's gate and up rows;
            0 leaves them as they were merged.
        calibration: `builtin`, a .txt/.jsonl/.parquet file, or `hf:NAME[:CONFIG]`.
        calibration_windows: number of token windows, or None for up to 128.
        window_tokens: tokens per window.
        dtype: of the written weights; auto keeps the source's.
        device: where the arithmetic runs; auto takes CUDA when there is one.
        seed: draws the calibration windows.
        trust_remote_code: passed to transformers when the model is loaded.
    """

    width: float | None = None
    hidden_size: int | None = None
    mlp_width: float | None = None
    intermediate_size: int | None = None
    method: Method = "pca"
    mlp_method: MlpMethod = "magnitude"
    compensate: Compensation = "full"
    reg: float = 0.01
    signed: bool = True
    mass: Mass = "uniform"
    ridge_tokens: float = 1600.0
    neuron_steps: int = 1
    calibration: str = "builtin"
    calibration_windows: int | None = None
    window_tokens: int = 1024
    dtype: str = "auto"
    device: str = "auto"
    seed: int = 42
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        """Raise OptionError for anything that cannot be meant."""
        self._check_widths()
        self._check_choice("method", self.method, get_args(Method))
        self._check_choice("mlp_method", self.mlp_method, get_args(MlpMethod))
        self._check_choice("compensate", self.compensate, get_args(Compensation))
        self._check_choice("mass", self.mass, get_args(Mass))
        self._check_choice("dtype", self.dtype, _DTYPES)
        self._check_choice("device", self.device, _DEVICES)
        for name, value, least in (
            ("reg", self.reg, 0.0),
            ("ridge_tokens", self.ridge_tokens, 0.0),
            ("neuron_steps", self.neuron_steps, 0),
            ("window_tokens", self.window_tokens, 2),
            ("calibration_windows", 1 if self.calibration_windows is None else self.calibration_windows, 1),
            ("seed", self.seed, 0),
        ):
            if not value >= least:
                raise OptionError(f"{name} is {value}; it must be at least {least}.")

    def _check_widths(self) -> None:
        for fraction, exact in (("width", "hidden_size"), ("mlp_width", "intermediate_size")):
            value = getattr(self, fraction)
            if value is not None and getattr(self, exact) is not None:
                raise OptionError(f"{fraction} and {exact} were both given; give one of them.")
            if value is not None and not 0.0 < value <= 1.0:
                raise OptionError(
                    f"{fraction} is {value}; it is a fraction of the old width, above 0 and up to 1."
                )
        if all(
            value is None for value in (self.width, self.hidden_size, self.mlp_width, self.intermediate_size)
        ):
            raise OptionError(
                "no new width was given; give a hidden width (--width 0.8 or --hidden-size N), "
                "an MLP width (--mlp-width 0.75 or --intermediate-size N), or both."
            )

    @staticmethod
    def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
        if value not in choices:
            raise OptionError(f"{name} is {value!r}; choose one of {', '.join(choices)}.")

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready dictionary."""
        return asdict(self)
