"""What the user asks of a compression: one frozen, validated record, and what it comes to."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from ...errors import OptionError
from .effort import EFFORTS, Amount, Effort

__all__ = [
    "STREAM_ITEM_BYTES",
    "Compensation",
    "CompressConfig",
    "Mass",
    "Method",
    "MlpMethod",
    "Settings",
    "StreamDtype",
]

Method = Literal["dot", "magnitude", "pca", "pca+dot"]
MlpMethod = Literal["dot", "magnitude", "magnitude+dot", "nystrom", "fisher"]
Compensation = Literal["none", "readout", "full"]
Mass = Literal["uniform", "energy"]
StreamDtype = Literal["float32", "bfloat16"]
STREAM_ITEM_BYTES: dict[str, int] = {"float32": 4, "bfloat16": 2}
_DTYPES = ("auto", "float32", "bfloat16", "float16")
_DEVICES = ("auto", "cpu", "cuda")
_LARGEST = 2**63 - 1
_AXES = ("width", "hidden_size", "mlp_width", "intermediate_size", "kv_groups", "layers", "experts")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a configuration comes to: every option has a value, and is listed where it has no effect.

    Attributes are those of `CompressConfig`; `unused` names the ones that change nothing in this run.
    """

    width: float | None
    hidden_size: int | None
    mlp_width: float | None
    intermediate_size: int | None
    kv_groups: float | None
    layers: float | None
    experts: float | None
    method: Method = "pca"
    mlp_method: MlpMethod = "magnitude"
    compensate: Compensation = "full"
    reg: float = 0.01
    signed: bool = True
    mass: Mass = "uniform"
    ridge_tokens: float = 1600.0
    ridge_share: float = 0.3
    effort: Effort = "standard"
    neuron_steps: int
    calibration: str | tuple[str, ...]
    calibration_windows: int | None
    window_tokens: int
    stream_dtype: StreamDtype = "float32"
    dtype: str
    device: str
    seed: int
    trust_remote_code: bool
    unused: frozenset[str] = field(default=frozenset())

    @property
    def amount(self) -> Amount:
        """What the effort stands for."""
        return EFFORTS[self.effort]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready dictionary; None for what was not asked for or has no effect."""
        values = {name: None if name in self.unused else value for name, value in asdict(self).items()}
        del values["unused"]
        if not isinstance(self.calibration, str):
            values["calibration"] = list(self.calibration)  # as JSON gives it back
        return values


@dataclass(frozen=True, kw_only=True)
class CompressConfig:
    """Options of one compression. A width left None stays as it is; any other None means the default.

    Options that change nothing beside the others are an error when they are given: see `settings`.

    Attributes:
        width: new hidden size as a fraction of the old one, in (0, 1]; rounded to the nearest legal width.
        hidden_size: new hidden size: an int exactly, a float a fraction, which is kept as `width`.
        mlp_width: new MLP width as a fraction, in (0, 1]; rounded to the nearest multiple of 64, 8 or 1.
        intermediate_size: new MLP width: an int exactly, a float a fraction, kept as `mlp_width`.
        kv_groups: key-value groups that stay, each with its query heads: an int is their number, a float in
            (0, 1] a fraction of them.
        layers: whole layers that stay: an int is their number, a float in (0, 1] a fraction of them.
        experts: whole experts of each layer that stay: an int is their number, a float in (0, 1] a fraction.
        method: how the residual basis is found (pca); with a hidden width only.
        mlp_method: how MLP neurons are reduced (magnitude); with an MLP width only. `dot` merges all of them
            (the paper), `magnitude` drops the smallest, `magnitude+dot` drops them and transports what they
            wrote onto the others, `nystrom` keeps those with the largest ridge leverage and predicts what
            the dropped ones gave (MoDeGPT), `fisher` drops those with the smallest product of what they add
            to the stream and what the loss feels of them, which takes a backward pass.
        compensate: closed-form fits on the calibration tokens: none (fold only), readout (what each
            norm feeds its readers), full (readout, and every matrix that writes to the residual).
        reg: entropic regularisation of the transport, on costs scaled to [0, 1]; 0 solves it exactly (0.01).
        signed: let a neuron merge with the negative of another in a transport (yes).
        mass: marginals of the MLP transport: uniform (the paper) or proportional to output energy.
        ridge_tokens: pull of the fits towards the unfitted weights, which count as much as this many
            calibration tokens; so more calibration trusts the fits more (1600).
        ridge_share: what they count beside that, as a share of the calibration however long it is; it keeps
            what the fits do on text of other kinds near what the original does (0.3).
        effort: how much work goes into the fits: quick, standard, or thorough, which trains every sublayer
            after its closed forms and needs two calibration windows (standard).
        neuron_steps: with full compensation, Gauss-Newton steps that also fit each MLP's gate and up rows;
            0 leaves them as they were merged (by effort).
        calibration: `builtin`, `self` (what the model itself writes), a .txt/.jsonl/.parquet file, or
            `hf:NAME[:CONFIG]`; or several, each with `=SHARE` of the windows or an even part of the rest.
        calibration_windows: number of token windows, or None for up to 128.
        window_tokens: tokens per window.
        stream_dtype: that residual streams are kept in between layers: bfloat16 takes half the room, and
            rounds both streams after every sublayer.
        dtype: of the written weights; auto keeps the source's.
        device: where the arithmetic runs; auto takes CUDA when there is one.
        seed: draws the calibration windows.
        trust_remote_code: passed to transformers when the model is loaded.
    """

    width: float | None = None
    hidden_size: float | None = None
    mlp_width: float | None = None
    intermediate_size: float | None = None
    kv_groups: float | None = None
    layers: float | None = None
    experts: float | None = None
    method: Method | None = None
    mlp_method: MlpMethod | None = None
    compensate: Compensation = "full"
    reg: float | None = None
    signed: bool | None = None
    mass: Mass | None = None
    ridge_tokens: float | None = None
    ridge_share: float | None = None
    effort: Effort | None = None
    neuron_steps: int | None = None
    calibration: str | tuple[str, ...] = "builtin"
    calibration_windows: int | None = None
    window_tokens: int = 1024
    stream_dtype: StreamDtype = "float32"
    dtype: str = "auto"
    device: str = "auto"
    seed: int = 42
    trust_remote_code: bool = False

    def __post_init__(self) -> None:
        """Raise OptionError for values that cannot be meant."""
        if not isinstance(self.calibration, str):
            texts = tuple(self.calibration)
            object.__setattr__(self, "calibration", texts[0] if len(texts) == 1 else texts)
        self._take_fractions()
        self._check_widths()
        self._check_choice("method", self.method, get_args(Method))
        self._check_choice("mlp_method", self.mlp_method, get_args(MlpMethod))
        self._check_choice("compensate", self.compensate, get_args(Compensation))
        self._check_choice("mass", self.mass, get_args(Mass))
        self._check_choice("effort", self.effort, get_args(Effort))
        self._check_choice("stream_dtype", self.stream_dtype, get_args(StreamDtype))
        self._check_choice("dtype", self.dtype, _DTYPES)
        self._check_choice("device", self.device, _DEVICES)
        for name, least in (
            ("reg", 0.0),
            ("ridge_tokens", 0.0),
            ("ridge_share", 0.0),
            ("neuron_steps", 0),
            ("window_tokens", 2),
            ("calibration_windows", 1),
            ("seed", 0),
        ):
            value = getattr(self, name)
            if value is not None and not value >= least:
                raise OptionError(f"{name} is {value}; it must be at least {least}.")
            if value is not None and not (value <= _LARGEST and math.isfinite(value)):
                raise OptionError(f"{name} is {str(value)[:24]}; it must be a number below 2^63.")

    def settings(self) -> Settings:
        """Every option with its value.

        Raises:
            OptionError: an option was given that has no effect beside the others.
        """
        needs = self._needs()
        given = {name: getattr(self, name) for name in needs}
        for name, (effective, reason) in needs.items():
            if given[name] is not None and not effective:
                raise OptionError(f"{name} {given[name]} has no effect {reason}; leave it out.")
        if self.effort == "thorough":
            self._check_thorough()
        values = {name: value for name, value in vars(self).items() if name not in needs or value is not None}
        values.setdefault("neuron_steps", EFFORTS[self.effort or "standard"].neuron_steps)
        return Settings(**values, unused=frozenset(name for name, need in needs.items() if not need[0]))

    def _needs(self) -> dict[str, tuple[bool, str]]:
        """Option -> whether it has an effect, and why not."""
        hidden = self.width is not None or self.hidden_size is not None
        mlp = self.mlp_width is not None or self.intermediate_size is not None
        mlp_dot = mlp and self.mlp_method == "dot"
        dot = mlp_dot or (hidden and self.method in ("dot", "pca+dot"))
        onto = mlp and self.mlp_method == "magnitude+dot"
        transport = "without a transport (method dot or pca+dot with a hidden width, or mlp_method dot)"
        fits, full = self.compensate != "none", self.compensate == "full"
        return {
            "method": (hidden, "without a hidden width (width or hidden_size)"),
            "mlp_method": (mlp, "without an MLP width (mlp_width or intermediate_size)"),
            "reg": (dot or onto, transport),
            "signed": (dot, transport),
            "mass": (mlp_dot, "without an MLP transport (mlp_method dot)"),
            "ridge_tokens": (fits, "with compensate none, which fits nothing"),
            "ridge_share": (fits, "with compensate none, which fits nothing"),
            "effort": (fits, "with compensate none, which fits nothing"),
            "neuron_steps": (full, f"with compensate {self.compensate}; neurons are fitted with full"),
        }

    def _check_thorough(self) -> None:
        if self.compensate != "full":
            raise OptionError(
                f"effort thorough trains what compensate full has fitted, and compensate is "
                f"{self.compensate}; use full, or another effort."
            )
        if self.calibration_windows == 1:
            raise OptionError(
                "effort thorough keeps a window from the fits to see when to stop, and calibration_windows "
                "is 1; give at least 2."
            )

    def _take_fractions(self) -> None:
        """A float of an exact width is a fraction, as for the other axes."""
        for fraction, exact in (("width", "hidden_size"), ("mlp_width", "intermediate_size")):
            value = getattr(self, exact)
            if not isinstance(value, float):
                continue
            if not 0.0 < value <= 1.0:
                raise OptionError(f"{exact} is {value}; give a whole number, or a fraction in (0, 1].")
            if getattr(self, fraction) is not None:
                raise OptionError(f"{fraction} and {exact} were both given; give one of them.")
            object.__setattr__(self, fraction, value)
            object.__setattr__(self, exact, None)

    def _check_widths(self) -> None:
        for fraction, exact in (("width", "hidden_size"), ("mlp_width", "intermediate_size")):
            value = getattr(self, fraction)
            if value is not None and getattr(self, exact) is not None:
                raise OptionError(f"{fraction} and {exact} were both given; give one of them.")
            if value is not None and not 0.0 < value <= 1.0:
                raise OptionError(
                    f"{fraction} is {value}; it is a fraction of the old width, above 0 and up to 1."
                )
        for name in ("kv_groups", "layers", "experts"):
            value = getattr(self, name)
            if isinstance(value, float) and not 0.0 < value <= 1.0:
                raise OptionError(f"{name} is {value}; give a whole number, or a fraction in (0, 1].")
        if not any(getattr(self, name) is not None for name in _AXES):
            raise OptionError(
                "no new width was given; give a hidden width (--hidden-size 0.8 or N), "
                "an MLP width (--intermediate-size 0.75 or N), fewer heads (--kv-groups 0.5 or "
                "N), fewer layers (--layers 0.9 or N) or experts (--experts 0.75 or N), or several of "
                "them; or a plan (--plan) or a budget (--params 0.75, see `dotresize plan --help`)."
            )

    @staticmethod
    def _check_choice(name: str, value: str | None, choices: tuple[str, ...]) -> None:
        if value is not None and value not in choices:
            raise OptionError(f"{name} is {value!r}; choose one of {', '.join(choices)}.")

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready dictionary of the effective values.

        Raises:
            OptionError: an option was given that has no effect beside the others.
        """
        return self.settings().to_dict()
