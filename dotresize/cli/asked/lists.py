"""Options that hold several values, separated by commas, or one of several kinds."""

__all__ = ["check_choice", "fractions", "names", "number", "number_or_fraction", "numbers", "rates", "words"]


def names(text: str) -> tuple[str, ...]:
    """Words, without blanks and empty ones."""
    return tuple(name for part in text.split(",") if (name := part.strip()))


def numbers(option: str, text: str) -> tuple[int, ...]:
    """Whole numbers.

    Raises:
        OptionError: Something else is among them.
    """
    from ...errors import OptionError

    try:
        return tuple(int(part) for part in names(text))
    except ValueError as error:
        raise OptionError(f"--{option} is {text!r}, expected whole numbers such as 1,8,32") from error


def number(option: str, text: str) -> int:
    """The one whole number of an option that takes several elsewhere.

    Raises:
        OptionError: Something else was given.
    """
    from ...errors import OptionError
    from .gate import check_value

    try:
        found = int(text)
    except ValueError:
        raise OptionError(f"--{option} is {text!r}, expected one whole number here") from None
    check_value(f"--{option}", found, is_place=False)
    return found


def number_or_fraction(option: str, text: str | None) -> float | None:
    """An int for a whole number, a float for anything with a point; nobody checks the range here.

    Raises:
        OptionError: Something else was given.
    """
    from ...errors import OptionError
    from .gate import check_value

    if text is None:
        return None
    try:
        found = int(text) if text.lstrip("+-").isdigit() else float(text)
    except ValueError:
        raise OptionError(
            f"--{option} is {text!r}; give a whole number, or a fraction in (0, 1) such as 0.9."
        ) from None
    check_value(f"--{option}", found, is_place=False)
    return found


def check_choice(option: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse what a command does not offer.

    Raises:
        OptionError: It is none of the choices.
    """
    from ...errors import OptionError

    if value not in choices:
        raise OptionError(f"--{option} is {value!r}; choose one of {', '.join(choices)}.")


def fractions(option: str, text: str) -> tuple[float, ...]:
    """Fractions.

    Raises:
        OptionError: Something else is among them.
    """
    return _floats(option, text, "fractions such as 0.9,0.75")


def rates(option: str, text: str) -> tuple[float, ...]:
    """How often something happens.

    Raises:
        OptionError: Something else is among them.
    """
    return _floats(option, text, "numbers such as 0.5,1,2")


def _floats(option: str, text: str, expected: str) -> tuple[float, ...]:
    from ...errors import OptionError

    try:
        return tuple(float(part) for part in names(text))
    except ValueError as error:
        raise OptionError(f"--{option} is {text!r}, expected {expected}") from error


def words(option: str, text: str) -> tuple[str, ...]:
    """Words as a shell would split them.

    Raises:
        OptionError: A quotation does not end.
    """
    import shlex

    from ...errors import OptionError

    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise OptionError(f"--{option} is {text!r}, which no shell can split: {error}") from error
