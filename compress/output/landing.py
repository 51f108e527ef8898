"""A run that was killed after its output came into place: what the same command may go on with.

Just before an output lands, its work directory notes the command and the hash of the file that will say what
the output is. So a later run knows an output that its own command wrote and has not measured yet from any
other that lies there.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from ...errors import OutputError
from ...json_files import read_json

__all__ = ["NOTE", "is_finished", "is_unmeasured", "note_landing"]

NOTE = "landing.json"


def note_landing(work: Path | None, file: Path, command: Any) -> None:
    """Note that `file`, the manifest of the output, is about to come into place.

    Args:
        work: The work directory; None keeps nothing.
        file: The manifest, still in the temporary.
        command: All that the user asked for, JSON-ready.

    Raises:
        OutputError: The note cannot be written.
    """
    if work is None:
        return
    try:
        temporary = work / f"{NOTE}.tmp"
        temporary.write_text(json.dumps(_note(file, command)), encoding="utf-8")
        temporary.rename(work / NOTE)
    except OSError as error:
        raise OutputError(f"{work} cannot be written: {error.strerror}; free some space and retry") from error


def is_unmeasured(work: Path, file: Path, command: Any) -> bool:
    """Whether `file` is what this very command put into place before it was killed."""
    found = _read(work)
    return found is not None and file.is_file() and found == _note(file, command)


def is_finished(work: Path, file: Path, command: Any) -> bool:
    """Whether this very command was killed after it had changed `file` a last time."""
    found = _read(work)
    return (
        found is not None
        and file.is_file()
        and found["command"] == _hash(command)
        and not is_unmeasured(work, file, command)
    )


def _note(file: Path, command: Any) -> dict[str, str]:
    return {"command": _hash(command), "file": hashlib.sha256(file.read_bytes()).hexdigest()}


def _hash(command: Any) -> str:
    return hashlib.sha256(json.dumps(command, sort_keys=True).encode()).hexdigest()


def _read(work: Path) -> dict[str, str] | None:
    note = work / NOTE
    if note.is_symlink() or not note.is_file():
        return None
    try:
        content = read_json(note, OutputError, largest_bytes=4096)
    except OutputError:
        return None
    if not isinstance(content, dict) or set(content) != {"command", "file"}:
        return None
    return {key: str(value) for key, value in content.items()}
