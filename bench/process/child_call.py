"""Call a module of ours in a fresh process: one typed request, one typed reply, and progress line by line.

The one protocol of all our children: `python -m MODULE REQUEST REPLY`, both JSON files that follow a
dataclass (or any type that pydantic knows). The parent keeps no weights and imports no torch, and
everything that a child took is given back when it ends. An error of ours crosses the border as itself.
`watched_child` speaks the same protocol where time and memory of the child are what is measured.
"""

import json
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import TypeAdapter

from ... import errors
from ...compress.record.progress import Progress, Silent
from ...export.process.child import TIMEOUT_SECONDS, ChildError, run_child

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["PrintedProgress", "answer", "call_child", "read_reply", "write_request"]

Request = TypeVar("Request", bound="DataclassInstance")
Reply = TypeVar("Reply")

_MARK = "@progress "
_REQUEST, _REPLY = "request.json", "reply.json"


def call_child(
    module: str,
    request: "DataclassInstance",
    reply: type[Reply],
    *,
    progress: Progress | None = None,
    offline: bool = True,
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> Reply:
    """Run a module on a request and return what it replied.

    Args:
        module: Its `__main__` part calls `answer`.
        request: What the module's work takes.
        reply: The type of what it returns.
        progress: Told what the child's `PrintedProgress` prints.
        offline: Keep the child from model hubs.
        timeout_seconds: The child is ended after that long.

    Raises:
        DotresizeError: The same that the child raised.
        EngineError: The child died; the message holds its last words.
    """
    told = progress or Silent()
    with tempfile.TemporaryDirectory(prefix="dotresize-bench-") as name:
        folder = Path(name)
        arguments = write_request(module, request, folder)
        try:
            run_child(
                arguments,
                folder=folder,
                on_line=lambda line: _pass_on(line, told),
                offline=offline,
                timeout_seconds=timeout_seconds,
            )
        except ChildError as error:
            _raise_its_own(folder)
            raise errors.EngineError(f"{module.rsplit('.', 1)[-1]} ended early: {error}") from error
        found = read_reply(reply, folder)
    if found is None:
        raise errors.EngineError(f"{module.rsplit('.', 1)[-1]} ended without a reply")
    return found


def write_request(module: str, request: "DataclassInstance", folder: Path) -> list[str]:
    """Write the request of a child into a folder of its own and return its arguments for Python."""
    asked, replied = folder / _REQUEST, folder / _REPLY
    replied.unlink(missing_ok=True)
    asked.write_text(json.dumps(asdict(request)), encoding="utf-8")
    return ["-m", module, str(asked), str(replied)]


def read_reply(reply: type[Reply], folder: Path) -> Reply | None:
    """What a child that ended well replied; None when it left nothing."""
    replied = folder / _REPLY
    return TypeAdapter(reply).validate_json(replied.read_bytes()) if replied.is_file() else None


def _raise_its_own(folder: Path) -> None:
    """An error of ours that ended the child, if one did."""
    replied = folder / _REPLY
    failure = json.loads(replied.read_bytes()) if replied.is_file() else None
    if isinstance(failure, dict) and "error" in failure:
        raise getattr(errors, failure["error"])(failure["message"])


def answer(kind: type[Request], work: Callable[[Request], Any]) -> None:
    """The child's side: read the request named on the command line, work, write the reply.

    An error of ours is written instead of a reply and raised on, so that the log of the child has it too.
    """
    asked, replied = Path(sys.argv[1]), Path(sys.argv[2])
    try:
        reply = work(TypeAdapter(kind).validate_json(asked.read_bytes()))
    except errors.DotresizeError as error:
        known = next(base.__name__ for base in type(error).__mro__ if hasattr(errors, base.__name__))
        replied.write_text(json.dumps({"error": known, "message": str(error)}), encoding="utf-8")
        raise
    replied.write_text(json.dumps(reply, default=asdict), encoding="utf-8")


class PrintedProgress:
    """A Progress that prints lines for the parent process."""

    def begin(self, step: str, units: int) -> None:
        """A step starts and will take `units` advances."""
        self._print({"step": step, "units": units})

    def advance(self, units: int = 1) -> None:
        """Some units of the current step are done."""
        self._print({"advance": units})

    @staticmethod
    def _print(message: dict[str, Any]) -> None:
        sys.stdout.write(f"{_MARK}{json.dumps(message)}\n")
        sys.stdout.flush()


def _pass_on(line: str, progress: Progress) -> None:
    if not line.startswith(_MARK):
        return
    message = json.loads(line.removeprefix(_MARK))
    if "advance" in message:
        progress.advance(message["advance"])
    else:
        progress.begin(message["step"], message["units"])
