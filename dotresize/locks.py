"""One run at a time: an advisory lock on a file, released by the kernel when its process ends."""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import OutputError

__all__ = ["acquire", "in_turn", "locked", "try_lock"]


def acquire(path: Path, *, what: str) -> int:
    """An open descriptor that holds the lock until it is closed or the process ends.

    Args:
        path: The lock file; made when it is missing, never removed here.
        what: What a second run would disturb, for the error.

    Raises:
        OutputError: Another process holds the lock, or the file system has none.
    """
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error
    try:
        is_ours = try_lock(descriptor)
    except OSError as error:
        os.close(descriptor)
        raise OutputError(
            f"{path} cannot be locked: {error.strerror}; use a file system with locks"
        ) from error
    if not is_ours:
        os.close(descriptor)
        raise OutputError(
            f"another run is writing to {what}; wait for it to finish, or choose another output"
        )
    return descriptor


def try_lock(descriptor: int) -> bool:
    """Lock an open file without waiting; False when another process holds it.

    Raises:
        OSError: The file system has no locks.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


@contextmanager
def locked(path: Path, *, what: str) -> Iterator[None]:
    """Hold the lock inside the block.

    Raises:
        OutputError: Another process holds it.
    """
    descriptor = acquire(path, what=what)
    try:
        yield
    finally:
        os.close(descriptor)


@contextmanager
def in_turn(path: Path) -> Iterator[None]:
    """Wait until no other process is inside a block of the same file, then run this one.

    Raises:
        OutputError: The file cannot be made or locked.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        raise OutputError(f"{path} cannot be locked: {error}; use a file system with locks") from error
    try:
        yield
    finally:
        os.close(descriptor)
