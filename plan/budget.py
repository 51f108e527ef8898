"""What the user can spend: parameters, bytes, memory while serving, time per token."""

import math
import re
from dataclasses import dataclass

from ..errors import OptionError

__all__ = ["Budget", "parse_bytes", "parse_parameters"]

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "B": 10**9, "G": 10**9, "T": 10**12}
_BYTES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_BYTES |= {"": 1, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}


@dataclass(frozen=True, kw_only=True)
class Budget:
    """All that must hold at once; None asks for nothing.

    Attributes:
        params: layer parameters at most: a fraction of the original's up to 1, or a number above 1.
        weight_bytes: stored weights at most.
        memory_bytes: weights and key-value cache at most, at `context` tokens of each of `concurrency`
            sequences.
        decode_speedup: time of one decode step of the original over that of the result, at least.
        context: tokens of a sequence, for memory and speed.
        concurrency: sequences at a time, for memory and speed.
    """

    params: float | None = None
    weight_bytes: int | None = None
    memory_bytes: int | None = None
    decode_speedup: float | None = None
    context: int = 1024
    concurrency: int = 1

    def __post_init__(self) -> None:
        """Raise OptionError for values that cannot be meant."""
        values = {
            "--params": self.params,
            "--weight-bytes": self.weight_bytes,
            "--memory": self.memory_bytes,
            "--decode-speedup": self.decode_speedup,
        }
        if not any(value is not None for value in values.values()):
            raise OptionError(
                "no budget was given; give --params 0.75, --weight-bytes 12GB, --memory 16GB, "
                "--decode-speedup 1.5, or several of them."
            )
        for name, value in values.items():
            if value is not None and not (math.isfinite(value) and value > 0):
                raise OptionError(f"{name} is {value}; it must be above 0.")
        if self.decode_speedup is not None and self.decode_speedup <= 1.0:
            raise OptionError(
                f"--decode-speedup is {self.decode_speedup:g}; the original reaches 1, ask for more."
            )
        if self.params == 1.0:
            raise OptionError("--params 1 changes nothing; give a fraction below 1, or a number such as 6B.")
        for name, whole in (("--context", self.context), ("--concurrency", self.concurrency)):
            if whole < 1:
                raise OptionError(f"{name} is {whole}; it must be at least 1.")


def parse_parameters(text: str) -> float:
    """A fraction such as 0.75, or a number such as 6B, 135M or 6e9.

    Raises:
        OptionError: neither.
    """
    found = re.fullmatch(r"([0-9.]+(?:e[0-9]+)?)\s*([KMBGT]?)", text.strip(), re.IGNORECASE)
    return _number("--params", text, found, _UNITS, "a fraction such as 0.75, or a number such as 6B")


def parse_bytes(option: str, text: str) -> int:
    """Bytes: 12GB is 12e9, 12GiB is 12 times 2^30.

    Raises:
        OptionError: it is no such size.
    """
    found = re.fullmatch(r"([0-9.]+(?:e[0-9]+)?)\s*([KMGT]?i?B|)", text.strip(), re.IGNORECASE)
    return int(_number(option, text, found, _BYTES, "a size such as 12GB or 800MiB"))


def _number(option: str, text: str, found: re.Match[str] | None, units: dict[str, int], wanted: str) -> float:
    try:
        if found is None:
            raise ValueError
        return float(found[1]) * units[found[2].upper()]
    except (ValueError, OverflowError):
        raise OptionError(f"{option} is {text!r}; give {wanted}.") from None
