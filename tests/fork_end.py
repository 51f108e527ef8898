"""A forked process of the tests: on one thread, and never ending as a second process of pytest."""

import contextlib
import os
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

__all__ = ["ESCAPED", "leave_with"]

ESCAPED = 99  # exit code when something goes through the work


def leave_with(work: Callable[[], int | None]) -> NoReturn:
    """Work on one thread, and exit with what it returns, None being 0; what goes through it is told."""
    code = ESCAPED
    try:
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(1)  # the threads that this process had are gone
        code = work() or 0
    finally:
        if (error := sys.exc_info()[1]) is not None:
            traceback.print_exception(error)
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
