"""All or nothing on disk: write beside the target, flush, then rename.

A reader sees the old output or the new one, never a half-written one. With `force` an existing
directory is moved aside first and removed last, so a crash in between leaves either the old or the new
directory under the target's name or the old one under a `.old` sibling.
"""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from ..errors import OutputError

__all__ = ["check_free", "staged_directory", "staged_file", "write_atomically"]

_OURS = ("dotresize.json", "config.json", "genai_config.json")


def check_free(target: Path, *, force: bool) -> None:
    """Refuse a target that exists, before any work is done.

    Args:
        target: File or directory that is about to be written.
        force: Allow replacing an earlier output. Anything that does not look like one (a home directory,
            a folder of photographs) is refused even then.

    Raises:
        OutputError: `target` is in the way.
    """
    if not target.exists() and not target.is_symlink():
        return
    if not force:
        raise OutputError(f"{target} already exists; choose another output, or replace it with --force")
    if target.is_symlink():
        raise OutputError(f"{target} is a symbolic link; --force replaces only real files and directories")
    if target.is_dir() and any(target.iterdir()) and not any((target / name).is_file() for name in _OURS):
        raise OutputError(
            f"{target} holds files that dotresize did not write (none of {', '.join(_OURS)}); "
            "--force does not delete it, remove it yourself or choose another output"
        )


@contextmanager
def staged_directory(target: Path, *, force: bool = False) -> Iterator[Path]:
    """Yield a temporary sibling of `target`; rename it to `target` when the block succeeds.

    Raises:
        OutputError: `target` exists, cannot be written, or the disk is full. The temporary is removed.
    """
    check_free(target, force=force)
    temporary = _new_sibling(target)
    try:
        yield temporary
        _settle(temporary)
        _put_in_place(temporary, target)
    except OSError as error:
        raise _explain(error, target) from error
    except SafetensorError as error:  # safetensors reports a full disk with an error of its own
        if "I/O error" not in str(error):
            raise
        raise OutputError(f"{target} cannot be written: {error}; free some space, then run again") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def staged_file(target: Path, *, force: bool = False) -> Iterator[Path]:
    """Yield a temporary path beside `target`; rename it to `target` when the block succeeds.

    Raises:
        OutputError: `target` exists, is a directory, cannot be written, or the disk is full.
    """
    check_free(target, force=force)
    if target.is_dir():
        raise OutputError(f"{target} is a directory, expected a file name; add one, such as model.gguf")
    folder = _new_sibling(target)
    temporary = folder / target.name
    try:
        yield temporary
        _settle(folder)
        temporary.replace(target)
        _flush(target.parent)
    except OSError as error:
        raise _explain(error, target) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_atomically(path: Path, text: str) -> None:
    """Replace one small text file, or leave the old one untouched.

    Raises:
        OutputError: The file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        _flush(temporary)
        temporary.replace(path)
    except OSError as error:
        raise _explain(error, path) from error
    finally:
        temporary.unlink(missing_ok=True)


def _new_sibling(target: Path) -> Path:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent))
    except OSError as error:
        raise _explain(error, target) from error


def _settle(folder: Path) -> None:
    """Give everything the permissions that the user's umask asks for, and flush it to the disk."""
    mask = os.umask(0)
    os.umask(mask)
    for path in sorted(folder.rglob("*")):
        path.chmod((0o777 if path.is_dir() else 0o666) & ~mask)
        _flush(path)
    folder.chmod(0o777 & ~mask)
    _flush(folder)


def _put_in_place(temporary: Path, target: Path) -> None:
    old = target.with_name(f".{target.name}.{os.getpid()}.old")
    replaced = target.exists()
    if replaced:
        target.rename(old)
    try:
        temporary.rename(target)
    except OSError:
        if replaced:
            old.rename(target)
        raise
    _flush(target.parent)
    if old.is_dir():
        shutil.rmtree(old)
    else:
        old.unlink(missing_ok=True)


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
