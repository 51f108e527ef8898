"""Where an API key may come from: a file or the environment, never the command line."""

import os
from pathlib import Path

from ...errors import InputError

__all__ = ["API_KEY_ENVIRONMENT", "read_api_key"]

LONGEST_BYTES = 64 * 1024  # a device would never end
API_KEY_ENVIRONMENT = "VLLM_API_KEY"


def read_api_key(path: Path | None) -> str | None:
    """The key in `path`, else the one in the environment, else None.

    Raises:
        InputError: The file cannot be read or is empty.
    """
    if path is None:
        return os.environ.get(API_KEY_ENVIRONMENT) or None
    try:
        with path.open("rb") as stream:
            key = stream.read(LONGEST_BYTES).decode().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the API key file {path} cannot be read: {error}") from error
    if not key:
        raise InputError(f"the API key file {path} is empty; expected one line with the key")
    return key
