"""Options that hold several values, separated by commas."""

__all__ = ["fractions", "names", "numbers", "words"]


def names(text: str) -> tuple[str, ...]:
    """Words, without blanks and empty ones."""
    return tuple(name for part in text.split(",") if (name := part.strip()))


def numbers(option: str, text: str) -> tuple[int, ...]:
    """Whole numbers.

    Raises:
        OptionError: Something else is among them.
    """
    from ..errors import OptionError

    try:
        return tuple(int(part) for part in names(text))
    except ValueError as error:
        raise OptionError(f"--{option} is {text!r}, expected whole numbers such as 1,8,32") from error


def fractions(option: str, text: str) -> tuple[float, ...]:
    """Fractions.

    Raises:
        OptionError: Something else is among them.
    """
    from ..errors import OptionError

    try:
        return tuple(float(part) for part in names(text))
    except ValueError as error:
        raise OptionError(f"--{option} is {text!r}, expected fractions such as 0.9,0.75") from error


def words(option: str, text: str) -> tuple[str, ...]:
    """Words as a shell would split them.

    Raises:
        OptionError: A quotation does not end.
    """
    import shlex

    from ..errors import OptionError

    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise OptionError(f"--{option} is {text!r}, which no shell can split: {error}") from error
