"""How a command ends when something other than a result comes out of it: one line, an honest exit code.

    an error of ours       its message and its exit code
    interrupted            130; told to end (SIGTERM) 143
    out of memory          71
    the reader left        141, as `dotresize ... | head` does: nothing is said
    anything else          70, with what to report

This is the command line's last resort, beside `foreign.reading` the only place with a broad except: what
gets here has unwound every context manager, so temporary files are gone and locks are free.
"""

import os
import select
import shlex
import signal
import sys
import traceback
from collections.abc import Callable
from types import FrameType

from ..errors import DotresizeError
from ..foreign import first_line
from .printed.output import DEBUG, BrokenPipe, error_console, styled

__all__ = ["run_to_the_end"]

INTERNAL_ERROR, OUT_OF_MEMORY, INTERRUPTED = 70, 71, 130
READER_LEFT, TERMINATED = 128 + signal.SIGPIPE, 128 + signal.SIGTERM


class _Terminated(BaseException):
    """SIGTERM came."""


def run_to_the_end(program: Callable[[], object]) -> None:
    """Run a program and turn whatever it raises into one line and an exit code.

    Raises:
        SystemExit: Always, unless the program just returns.
        DotresizeError: With DOTRESIZE_DEBUG set, an error of ours comes out as it is.
    """
    for stream in (sys.stdout, sys.stderr):  # a name that the terminal cannot show must not end a command
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _on_sigterm)
    try:
        program()
    except DotresizeError as error:
        if os.environ.get(DEBUG):
            raise
        _end(error.exit_code, "error:", str(error))
    except KeyboardInterrupt:
        _end(INTERRUPTED, "interrupted")
    except _Terminated:
        _end(TERMINATED, "terminated")
    except MemoryError as error:
        _out_of_memory(error)
    except Exception as error:  # noqa: BLE001  # see above
        if isinstance(error, BrokenPipe) and _reader_left():
            _leave_quietly()
        if _is_out_of_memory(error):
            _out_of_memory(error)
        _report(error)


def _report(error: Exception) -> None:
    if os.environ.get(DEBUG):
        traceback.print_exception(error)
    kind, reason = type(error).__name__, first_line(error)
    reason = reason if reason.startswith(kind) else f"{kind}: {reason}"
    command = shlex.join(["dotresize", *sys.argv[1:]])
    _end(
        INTERNAL_ERROR,
        "internal error:",
        f"{reason}; please report it with the command `{command}`; {DEBUG}=1 shows the traceback",
    )


def _is_out_of_memory(error: Exception) -> bool:
    """Whether it says so: torch has an error of its own for a GPU, and a plain one for the processor."""
    words = ("can't allocate memory", "not enough memory")
    return type(error).__name__ == "OutOfMemoryError" or (
        isinstance(error, RuntimeError | OSError) and any(word in str(error) for word in words)
    )


def _out_of_memory(error: BaseException) -> None:
    if os.environ.get(DEBUG):
        traceback.print_exception(error)
    reason = f" ({first_line(error)})" if str(error) else ""
    _end(
        OUT_OF_MEMORY,
        "error:",
        f"out of memory{reason}; ask for fewer or shorter windows, a smaller batch or model, or use a "
        "machine with more",
    )


def _end(code: int, label: str, message: str = "") -> None:
    label = f"rank {os.environ['RANK']}: {label}" if os.environ.get("RANK", "0") != "0" else label
    line = styled(label, "bold red", f" {message}" if message else "")
    error_console().print(line, highlight=False, soft_wrap=True)
    sys.exit(code)


def _reader_left() -> bool:
    """Whether nobody reads stdout or stderr any more."""
    watch = select.poll()
    for stream in (sys.stdout, sys.stderr):
        watch.register(stream.fileno(), select.POLLERR)
    return any(event & select.POLLERR for _, event in watch.poll(0))


def _leave_quietly() -> None:
    nothing = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):  # or Python would complain while it flushes them at its end
        os.dup2(nothing, stream.fileno())
    sys.exit(READER_LEFT)


def _on_sigterm(number: int, frame: FrameType | None) -> None:
    raise _Terminated
