"""What a GGUF file is to be, checked as far as that goes without reading a checkpoint."""

from dataclasses import dataclass
from typing import Literal, get_args

from ...errors import OptionError
from ..contract.calibration import CalibrationOptions
from .tensors import WrittenType

__all__ = ["GgufConfig", "GgufType", "QuantisedType"]

# Llama.cpp's names for mixtures: most matrices get the type of the name, some that matter more a larger one.
QuantisedType = Literal["q2_k", "q3_k_m", "q4_k_s", "q4_k_m", "q5_k_m", "q6_k", "iq4_xs"]
GgufType = Literal[WrittenType, QuantisedType]


@dataclass(frozen=True, kw_only=True)
class GgufConfig(CalibrationOptions):
    """What to export; a calibration shows llama.cpp, for the types that it makes, which inputs are large.

    Attributes:
        type: Of the weight matrices; norms stay float32. The k-quants (q2_k, q3_k_m, q4_k_s, q4_k_m, q5_k_m,
            q6_k) and iq4_xs are made by llama.cpp itself, which chooses a type for each matrix.
        fallback_f16: Store a matrix whose rows do not divide into blocks of 32 as f16 instead of refusing.

    Raises:
        OptionError: An unknown type, or an option that cannot take effect.
    """

    type: GgufType = "f16"
    fallback_f16: bool = False

    def __post_init__(self) -> None:
        if self.type not in get_args(GgufType):
            raise OptionError(
                f"--dtype {self.type} is unknown, expected one of {', '.join(get_args(GgufType))}"
            )
        if self.fallback_f16 and self.quantised is not None:
            raise OptionError(
                f"--fallback-f16 has no effect on --dtype {self.type}: llama.cpp itself takes another "
                "type for a matrix whose rows do not divide into blocks; leave it out"
            )
        if self.fallback_f16 and not self.type.startswith("q"):
            raise OptionError(
                f"--fallback-f16 has no effect on --dtype {self.type}, which has no blocks; leave it out"
            )
        if self.calibration and self.quantised is None:
            raise OptionError(
                f"--calibration has no effect on --dtype {self.type}; leave it out, or choose one of "
                f"{', '.join(get_args(QuantisedType))}"
            )
        super().__post_init__()

    @property
    def quantised(self) -> QuantisedType | None:
        """The type, where llama.cpp has to make it."""
        return next((each for each in get_args(QuantisedType) if each == self.type), None)
