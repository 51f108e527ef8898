"""Names that people type -> paths. A name is data: it may be anything, and must not end in a traceback."""

import os
from pathlib import Path

from .errors import DotresizeError, InputError

__all__ = ["LONGEST_NAME_BYTES", "check_regular_files", "path_of"]

LONGEST_NAME_BYTES = (
    200  # of one part of an output's name; leaves room for the names of temporaries beside it
)


def path_of(name: "str | Path", what: str, kind: type[DotresizeError] = InputError) -> Path:
    """The path that a name means, `~` expanded.

    Args:
        name: as it was typed.
        what: what it names, e.g. "MODEL", for the error.
        kind: the error to raise.

    Raises:
        DotresizeError: of the kind asked for: empty, too long, with characters that no path can hold, or in
            the home directory of nobody.
    """
    text = str(name)
    if not text.strip():
        raise kind(f"{what} is empty; expected a path")
    try:
        encoded = os.fsencode(text)
    except UnicodeEncodeError:
        encoded = b"\0"
    if b"\0" in encoded:
        raise kind(f"{what} {text!r} holds a character that no path can hold; check how it was passed")
    try:
        path = Path(text).expanduser()
    except RuntimeError as error:
        raise kind(f"{what} {text} names a home directory that does not exist; write the path out") from error
    if len(os.fsencode(path)) > 4000 or any(len(os.fsencode(part)) > 255 for part in path.parts):
        raise kind(f"{what} {text[:60]}... is longer than a file system holds; choose a shorter name")
    return path


def check_regular_files(directory: Path, kind: type[DotresizeError] = InputError) -> None:
    """Refuse a directory with a pipe, a socket or a device among its files: reading one may never end.

    Raises:
        DotresizeError: of the kind asked for, naming the entry.
    """
    try:
        for entry in sorted(directory.iterdir()):
            if entry.exists() and not entry.is_file() and not entry.is_dir():
                raise kind(f"{entry} is no regular file but a pipe, socket or device; remove it")
    except OSError as error:
        raise kind(f"{directory} cannot be read: {error.strerror}; check its permissions") from error
