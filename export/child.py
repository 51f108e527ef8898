"""Start a program of another library as a child process: isolated, offline, killed with all it started."""

import codecs
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ..errors import DotresizeError

__all__ = ["ChildError", "run_child"]

TIMEOUT_SECONDS = 4 * 3600
_OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "TOKENIZERS_PARALLELISM": "false",
}
_HUB_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")


class ChildError(DotresizeError):
    """The program failed, was killed, or took too long; the message holds its own last words."""

    exit_code = 1


def run_child(
    arguments: Sequence[str],
    *,
    folder: Path,
    on_line: Callable[[str], None] | None = None,
    python: str = sys.executable,
    environment: Mapping[str, str] | None = None,
    offline: bool = True,
) -> None:
    """Run `python -I ARGUMENTS...` and wait.

    Args:
        arguments: What follows the interpreter's name.
        folder: Working directory of the child.
        on_line: Called with every line that the child prints, progress bars included.
        python: The interpreter.
        environment: Added to the present environment where it does not say otherwise.
        offline: Keep the child from model hubs; otherwise the present environment decides.

    Raises:
        ChildError: The child did not end with 0.
    """
    hub = {} if offline else {name: os.environ.get(name, "0") for name in _HUB_OFFLINE}
    settings = {**(environment or {}), **os.environ, **_OFFLINE, **hub}
    process = subprocess.Popen(
        [python, "-I", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=settings,
        cwd=folder,
        start_new_session=True,
    )
    guard = threading.Timer(TIMEOUT_SECONDS, _end, [process])
    guard.start()
    try:
        lines = _follow(process, on_line)
        code = process.wait()
    finally:
        guard.cancel()
        _end(process)
    if code != 0:
        raise ChildError(_last_words(lines, code))


def _follow(process: "subprocess.Popen[bytes]", on_line: Callable[[str], None] | None) -> list[str]:
    """Read to the end; a carriage return ends a line too, as in progress bars."""
    assert process.stdout is not None
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    lines: list[str] = []
    rest = ""
    while chunk := os.read(process.stdout.fileno(), 65536):
        *done, rest = (rest + decoder.decode(chunk)).replace("\r", "\n").split("\n")
        for line in filter(None, (part.strip() for part in done)):
            lines = [*lines[-400:], line]
            if on_line is not None:
                on_line(line)
    return [*lines, rest.strip()] if rest.strip() else lines


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Leave no process of the child's group behind, however it ended."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def _last_words(lines: list[str], code: int) -> str:
    if code < 0:
        hint = ", often for a lack of memory" if -code == signal.SIGKILL else ""
        return f"killed by {signal.Signals(-code).name}{hint}"
    errors = [
        line for line in lines if ("Error" in line or "Exception" in line) and not line.startswith("File ")
    ]
    return (errors or lines or [f"exit code {code}"])[-1][:400]
