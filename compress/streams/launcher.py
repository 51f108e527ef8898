"""What torchrun tells a process about the others, and what is said when one of them is lost."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from ...errors import EngineError

__all__ = ["launched_processes", "runs_first", "together"]


def launched_processes() -> int:
    """How many a launcher started, this one included."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def runs_first() -> bool:
    """Whether this process is the only one, or the first of those that torchrun started."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def together() -> Iterator[None]:
    """Turn what a broken connection says into an error of ours.

    Raises:
        EngineError: another process has ended or cannot be reached.
    """
    import torch  # here, because the command line asks how many there are before it loads anything

    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError) as error:
        raise EngineError(
            "another process of this run has ended or cannot be reached; its own message says why. The same "
            f"command resumes. ({str(error).splitlines()[0][:120]})"
        ) from error
