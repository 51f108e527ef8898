"""How many calibration windows each text of a mixture gives.

The default text, `builtin`, is itself a mixture: BUILTIN_SHARES is the one place that says of what.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...errors import OptionError

__all__ = ["BUILTIN_SHARES", "SELF", "Part", "mixture_of", "windows_of"]

SELF = "self"
BUILTIN_SHARES: Mapping[str, float] = {
    SELF: 0.5,
    "builtin:documentation": 0.2,
    "builtin:code": 0.15,
    "builtin:chat": 0.15,
}
_ROUNDING = 1e-6


@dataclass(frozen=True, kw_only=True)
class Part:
    """One text and its share of the windows, in (0, 1]."""

    spec: str
    share: float
    named: bool = True  # by the user, rather than a part of `builtin`


def mixture_of(specs: Sequence[str], *, writer: bool = True) -> tuple[Part, ...]:
    """The texts and shares that `TEXT` and `TEXT=0.3` name; texts without a share split the rest evenly.

    `builtin` is taken apart into its own texts; those that the model writes only where there is a `writer`.

    Raises:
        OptionError: no text, one text twice, or shares that are no fractions or do not add up to 1.
    """
    named = [_parsed(spec) for spec in specs]
    if not named:
        raise OptionError("no calibration text was given; give one, such as builtin or a .txt file.")
    given = sum(share for _, share in named if share is not None)
    unnamed = sum(share is None for _, share in named)
    if given > 1 + _ROUNDING or (unnamed and given > 1 - _ROUNDING):
        raise OptionError(
            f"the shares of the calibration texts add up to {given:g}"
            + (f", which leaves nothing for {unnamed} without a share" if unnamed else "")
            + "; they are fractions of all windows, up to 1 together."
        )
    if not unnamed and given < 1 - _ROUNDING:
        raise OptionError(
            f"the shares of the calibration texts add up to {given:g}; expected 1, or a text "
            "without a share, which takes the rest."
        )
    rest = (1 - given) / unnamed if unnamed else 0.0
    parts = [
        part for spec, share in named for part in _taken_apart(spec, rest if share is None else share, writer)
    ]
    for index, part in enumerate(parts):
        if any(part.spec == other.spec for other in parts[:index]):
            raise OptionError(f"{part.spec} is in the calibration mixture twice; name each text once.")
    return tuple(parts)


def windows_of(parts: Sequence[Part], windows: int) -> tuple[int, ...]:
    """`windows` split by the shares, by largest remainder, so that they add up.

    Raises:
        OptionError: a text that the user named would get none.
    """
    exact = [part.share * windows for part in parts]
    counts = [int(value + _ROUNDING) for value in exact]
    by_remainder = sorted(range(len(parts)), key=lambda index: (counts[index] - exact[index], index))
    for index in by_remainder[: windows - sum(counts)]:
        counts[index] += 1
    for part, count in zip(parts, counts, strict=True):
        if part.named and count == 0:
            raise OptionError(
                f"a share of {part.share:g} of {windows} calibration windows is less than one window of "
                f"{part.spec}; ask for more windows or for a larger share."
            )
    return tuple(counts)


def _parsed(spec: str) -> tuple[str, float | None]:
    text, sign, number = spec.rpartition("=")
    if not sign or os.path.isfile(spec):  # noqa: PTH113  # a name may hold the sign, or be none at all
        return spec, None
    try:
        share = float(number)
    except ValueError:
        raise OptionError(
            f"{spec!r} gives {number!r} as a share; expected a fraction, as in {text or 'TEXT'}=0.3."
        ) from None
    if not 0.0 < share <= 1.0:
        raise OptionError(f"{spec!r} gives a share of {number}; expected more than 0 and at most 1.")
    return text, share


def _taken_apart(spec: str, share: float, writer: bool) -> list[Part]:
    if spec != "builtin":
        return [Part(spec=spec, share=share)]
    shares = {each: fraction for each, fraction in BUILTIN_SHARES.items() if writer or each != SELF}
    share /= sum(shares.values())
    return [Part(spec=each, share=share * fraction, named=False) for each, fraction in shares.items()]
