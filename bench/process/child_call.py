"""Call a module of ours in a fresh process: JSON in, JSON out, progress line by line.

The parent keeps no weights and imports no torch, and everything that a child took is given back when it
ends. An error of ours crosses the border as itself.
"""

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ... import errors
from ...compress.progress import Progress
from ...export.child import ChildError, run_child

__all__ = ["PrintedProgress", "answer", "call_child"]

_MARK = "@progress "


def call_child(
    module: str, request: dict[str, Any], *, progress: Progress, offline: bool = True
) -> dict[str, Any]:
    """Run `python -m MODULE REQUEST REPLY` and return what it replied.

    Args:
        module: Its `__main__` part calls `answer`.
        request: JSON-ready.
        progress: Told what the child's `PrintedProgress` prints.
        offline: Keep the child from model hubs.

    Raises:
        DotresizeError: The same that the child raised.
        EngineError: The child died; the message holds its last words.
    """
    with tempfile.TemporaryDirectory(prefix="dotresize-bench-") as folder:
        asked, replied = Path(folder) / "request.json", Path(folder) / "reply.json"
        asked.write_text(json.dumps(request), encoding="utf-8")
        try:
            run_child(
                ["-m", module, str(asked), str(replied)],
                folder=Path(folder),
                on_line=lambda line: _pass_on(line, progress),
                offline=offline,
            )
        except ChildError as error:
            raise errors.EngineError(f"{module.rsplit('.', 1)[-1]} ended early: {error}") from error
        reply: dict[str, Any] = json.loads(replied.read_text(encoding="utf-8"))
    if "error" in reply:
        raise getattr(errors, reply["error"])(reply["message"])
    return reply


def answer(work: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """The child's side: read the request named on the command line, work, write the reply."""
    asked, replied = Path(sys.argv[1]), Path(sys.argv[2])
    try:
        reply = work(json.loads(asked.read_text(encoding="utf-8")))
    except errors.DotresizeError as error:
        known = next(kind.__name__ for kind in type(error).__mro__ if hasattr(errors, kind.__name__))
        reply = {"error": known, "message": str(error)}
    replied.write_text(json.dumps(reply), encoding="utf-8")


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
