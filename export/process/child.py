"""Start a program of another library as a child process: isolated, offline, ended with all that it started.

Every child runs under `guardian`, so none outlives this process, however that ends: `kill -9` included.
"""

import codecs
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ...errors import DotresizeError

__all__ = ["GUARDIAN", "TIMEOUT_SECONDS", "ChildError", "guarded", "run_child"]

GUARDIAN = Path(__file__).with_name("guardian.py")

TIMEOUT_SECONDS = 4 * 3600
SWEEP_SECONDS = 10.0  # for the guardian to end what is left
_OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "TOKENIZERS_PARALLELISM": "false",
}
# ONNX Runtime GenAI's builder writes the commit of the repository above itself into the model. Where a
# virtual environment lies in a checkout that is the user's own, and an export has other bytes after a commit.
_NO_REPOSITORY = {"GIT_DIR": os.devnull}
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
    timeout_seconds: float = TIMEOUT_SECONDS,
) -> None:
    """Run `python -I ARGUMENTS...` and wait.

    Args:
        arguments: What follows the interpreter's name.
        folder: Working directory of the child.
        on_line: Called with every line that the child prints, progress bars included.
        python: The interpreter.
        environment: Added to the present environment where it does not say otherwise.
        offline: Keep the child from model hubs; otherwise the present environment decides.
        timeout_seconds: The child is ended after that long.

    Raises:
        ChildError: The child did not end with 0, or in time.
    """
    hub = {} if offline else {name: os.environ.get(name, "0") for name in _HUB_OFFLINE}
    settings = {**(environment or {}), **os.environ, **_OFFLINE, **_NO_REPOSITORY, **hub}
    with guarded([python, "-I", *arguments]) as (command, lifeline):
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=settings,
            cwd=folder,
            pass_fds=(lifeline,),
            start_new_session=True,
        )
        guard = threading.Timer(timeout_seconds, process.terminate)
        guard.start()
        try:
            lines = _follow(process, on_line)
            code = process.wait()
        finally:
            in_time = guard.is_alive()
            guard.cancel()
            _end(process)
    if not in_time:
        raise ChildError(f"it took over {timeout_seconds:.0f} s and was ended")
    if code != 0:
        raise ChildError(_last_words(lines, code))


@contextmanager
def guarded(command: Sequence[str], *, grace_seconds: float = 0.0) -> Iterator[tuple[list[str], int]]:
    """Let a command end with this process, and at the end of the block at the latest.

    Args:
        command: Program and arguments.
        grace_seconds: Between asking it to end and killing it.

    Yields:
        The command to start instead, and the descriptor that it must inherit (`pass_fds`).
    """
    reader, writer = os.pipe()  # no other child inherits the writing end, so only this process holds it
    try:
        guardian = [sys.executable, "-I", "-S", str(GUARDIAN), str(reader), str(grace_seconds)]
        yield [*guardian, *command], reader
    finally:
        os.close(writer)
        os.close(reader)


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
    """Leave no process of the child's behind, however it ended."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(SWEEP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _last_words(lines: list[str], code: int) -> str:
    number = -code if code < 0 else code - 128  # of the guardian itself, or as it passes one on
    if number in set(signal.Signals):
        hint = ", often for a lack of memory" if number == signal.SIGKILL else ""
        return f"killed by {signal.Signals(number).name}{hint}"
    errors = [
        line for line in lines if ("Error" in line or "Exception" in line) and not line.startswith("File ")
    ]
    return (errors or lines or [f"exit code {code}"])[-1][:400]
