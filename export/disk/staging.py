"""All or nothing on disk: write beside the target, flush, then rename.

A reader sees the old output or the new one, never a half-written one. With `force` an existing directory is
moved aside first and removed last; a run that is killed in between leaves the old one in its temporary, and
the next run of the same output puts it back (`leftovers`).
"""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from ...errors import OutputError
from .leftovers import Staging
from .outputs import check_apart, check_free, check_writable

__all__ = [
    "check_apart",
    "check_free",
    "check_writable",
    "scratch_directory",
    "staged_directory",
    "staged_file",
    "write_atomically",
]

_TEXT_SUFFIX = ".dotresize-tmp"


@contextmanager
def staged_directory(target: Path, *, force: bool = False) -> Iterator[Path]:
    """Yield a temporary directory beside `target`; rename it to `target` when the block succeeds.

    Raises:
        OutputError: `target` exists, cannot be written, or the disk is full. The temporary is removed.
    """
    staging = _stage(target, force=force)
    try:
        yield staging.new
        _settle(staging.new)
        check_free(target, force=force)  # somebody may have written there meanwhile
        if target.exists():
            target.rename(staging.old)
        staging.new.rename(target)
        _flush(target.parent)
    except OSError as error:
        raise _explain(error, target) from error
    except SafetensorError as error:  # safetensors reports a full disk with an error of its own
        if "I/O error" not in str(error):
            raise
        raise OutputError(f"{target} cannot be written: {error}; free some space, then run again") from error
    finally:
        staging.close()


@contextmanager
def staged_file(target: Path, *, force: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `target`; rename it to `target` when the block succeeds.

    Raises:
        OutputError: `target` exists, is a directory, cannot be written, or the disk is full.
    """
    check_free(target, force=force)
    if target.is_dir():
        raise OutputError(f"{target} is a directory, expected a file name; add one, such as model.gguf")
    staging = _stage(target, force=force)
    temporary = staging.new / target.name
    try:
        yield temporary
        _settle(staging.new)
        check_free(target, force=force)
        temporary.replace(target)
        _flush(target.parent)
    except OSError as error:
        raise _explain(error, target) from error
    finally:
        staging.close()


@contextmanager
def scratch_directory(target: Path) -> Iterator[Path]:
    """Yield a directory beside `target` for what is needed on the way to it; it is removed with its content.

    What a killed run leaves is removed by the next run of the same target.

    Raises:
        OutputError: `target` cannot be written.
    """
    try:
        staging = Staging(target)
    except OSError as error:
        raise _explain(error, target) from error
    try:
        yield staging.new
    finally:
        staging.close()


def write_atomically(path: Path, text: str) -> None:
    """Replace one small text file, or leave the old one untouched.

    Raises:
        OutputError: The file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}{_TEXT_SUFFIX}")
    try:
        _remove_dead_texts(path)
        temporary.write_text(text, encoding="utf-8")
        _flush(temporary)
        temporary.replace(path)
    except OSError as error:
        raise _explain(error, path) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _stage(target: Path, *, force: bool) -> Staging:
    check_free(target, force=force)
    try:
        return Staging(target)
    except OSError as error:
        raise _explain(error, target) from error


def _remove_dead_texts(path: Path) -> None:
    """Temporaries of `write_atomically` for the same file whose process is gone."""
    name = re.compile(re.escape(f".{path.name}.") + r"(\d{1,10})" + re.escape(_TEXT_SUFFIX))
    for entry in path.parent.iterdir():
        if (match := name.fullmatch(entry.name)) and entry.is_file() and not _lives(int(match[1])):
            entry.unlink(missing_ok=True)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def _settle(folder: Path) -> None:
    """Give everything the permissions that the user's umask asks for, and flush it to the disk."""
    mask = os.umask(0)
    os.umask(mask)
    for path in sorted(folder.rglob("*")):
        path.chmod((0o777 if path.is_dir() else 0o666) & ~mask)
        _flush(path)
    folder.chmod(0o777 & ~mask)
    _flush(folder)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _explain(error: OSError, target: Path) -> OutputError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return OutputError(
            f"the disk is full while writing {target}; nothing was kept, free some space and retry"
        )
    return OutputError(f"{target} cannot be written: {error.strerror or error}; nothing was kept")
