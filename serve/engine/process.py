"""An engine as a child process group with an honest end: the parent's side of `guardian`."""

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from ...export.process.child import GUARDIAN

__all__ = ["EngineProcess"]

STOP_GRACE_SECONDS = 10.0  # for the engine to shut down by itself
SWEEP_GRACE_SECONDS = 10.0  # for the guardian to kill the rest


class EngineProcess:
    """One engine run. Leaving the context, or the end of this process, stops every process of it.

    Args:
        command: Program and arguments.
        environment: The engine's whole environment.
        log_path: Gets stdout and stderr of all its processes.

    Raises:
        OSError: The log cannot be written.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log_path: Path) -> None:
        reader, self._lifeline = os.pipe()
        try:
            with log_path.open("ab") as log:
                self._guardian = subprocess.Popen(
                    [
                        sys.executable,
                        "-I",
                        "-S",
                        str(GUARDIAN),
                        str(reader),
                        str(STOP_GRACE_SECONDS),
                        *command,
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=dict(environment),
                    pass_fds=(reader,),
                    start_new_session=True,
                )
        except OSError:
            os.close(self._lifeline)
            raise
        finally:
            os.close(reader)
        self._closed = False

    @property
    def pid(self) -> int:
        """Process id of the guardian, which is also the id of the process group and the session."""
        return self._guardian.pid

    def poll(self) -> int | None:
        """Exit code of the engine (128 + N for signal N) once all its processes are gone, else None."""
        code = self._guardian.poll()
        if code is None:
            return None
        if code < 0:  # the guardian itself was killed: its group may still live
            self._kill_group()
        self._close_lifeline()
        return code if code >= 0 else 128 - code

    def stop(self) -> int:
        """Stop the engine and everything it started; returns its exit code. Stopping twice is harmless."""
        self._close_lifeline()
        try:
            self._guardian.wait(STOP_GRACE_SECONDS + SWEEP_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._kill_group()
            self._guardian.wait()
        code = self.poll()
        assert code is not None
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _close_lifeline(self) -> None:
        if not self._closed:
            self._closed = True
            os.close(self._lifeline)

    def _kill_group(self) -> None:
        try:
            os.killpg(self._guardian.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
