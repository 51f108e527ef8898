"""The one gate for what other libraries raise while they read something foreign.

Configs, tokenizers, weights, GGUF files, texts and JSON come from anywhere. For damaged ones the libraries
that read them raise AttributeError, TypeError, bare Exception and more. Every such read goes through
`reading`, which turns whatever is raised into an error of ours. It wraps calls that *read*, never calls that
compute.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import DotresizeError, ModelError

__all__ = ["first_line", "reading"]

_LONGEST_REASON = 300  # characters


@contextmanager
def reading(
    what: "str | Path", kind: type[DotresizeError] = ModelError, *, by: str = "", advice: str = ""
) -> Iterator[None]:
    """Turn whatever a foreign reader raises into `kind`, with the file and the reason.

    The only place where a broad except is right: which exceptions a foreign reader raises for damaged
    input is not documented and changes with its version. The cause stays attached for DOTRESIZE_DEBUG.

    Args:
        what: The file or name that is read, as the user knows it.
        kind: The error to raise.
        by: Who reads, e.g. "transformers".
        advice: What to do next, a clause without a full stop.

    Raises:
        DotresizeError: Of the kind asked for. Errors of ours and KeyboardInterrupt pass unchanged.
    """
    try:
        yield
    except DotresizeError:
        raise
    except MemoryError as error:
        raise kind(f"{what} cannot be read: it asks for more memory than there is") from error
    except Exception as error:  # noqa: BLE001  # see above
        reader = f" by {by}" if by else ""
        ending = f"; {advice}" if advice else ""
        raise kind(f"{what} cannot be read{reader}: {first_line(error)}{ending}") from error


def first_line(error: BaseException) -> str:
    """The first telling line of an exception's message, printable and bounded, or its type's name."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    text = lines[0] if len(lines) == 1 or not lines[0].endswith(":") else f"{lines[0]} {lines[1]}"
    text = re.sub(r"[^\x20-\x7e\u00a0-\ud7ff\ue000-\U0010ffff]", "?", text)
    if isinstance(error, KeyError | AttributeError | IndexError | TypeError):
        text = f"{type(error).__name__}: {text}"
    return text[:_LONGEST_REASON]
