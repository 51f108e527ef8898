"""`dotresize ARGUMENTS` in a fork of this process, where torch and transformers are loaded already.

The fork has stdin, stdout, stderr and an exit code of its own, and goes through the `main` that the installed
command runs. What a fresh interpreter differs in (imports, hash seed, settings read at import) is for tests
that start one.
"""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

from .fork_end import leave_with
from .hostile.command import run

__all__ = ["Fork", "forked"]


def forked(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Exit code, stdout and stderr of `dotresize ARGUMENTS`."""
    return Fork(*arguments).end()


class Fork:
    """`dotresize ARGUMENTS` at work."""

    def __init__(self, *arguments: str | Path) -> None:
        _load_what_commands_need()
        self._arguments = arguments
        self._files = [os.memfd_create(name) for name in ("stdout", "stderr")]
        self._process = os.fork()
        if self._process == 0:
            leave_with(lambda: _become_the_command(arguments, *self._files))

    def end(self) -> subprocess.CompletedProcess[str]:
        """Wait for it."""
        _, status = os.waitpid(self._process, 0)
        texts = []
        for file in self._files:
            with os.fdopen(file, "rb") as stream:
                stream.seek(0)
                texts.append(stream.read().decode())
        return subprocess.CompletedProcess(self._arguments, os.waitstatus_to_exitcode(status), *texts)


@cache
def _load_what_commands_need() -> None:
    """Five seconds of a core, here once instead of in each fork."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from dotresize.compress import run
    from dotresize.export.checkpoint import write as checkpoint
    from dotresize.export.proof import verify

    assert all((AutoModelForCausalLM, AutoTokenizer, run, checkpoint, verify))


def _become_the_command(arguments: tuple[str | Path, ...], out: int, errors: int) -> int:
    for number, source in enumerate((os.open(os.devnull, os.O_RDONLY), out, errors)):
        os.dup2(source, number)
    sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
    return run(*arguments)
