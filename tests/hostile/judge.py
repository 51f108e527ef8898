"""The verdict on one case, from how the command ended and what the sandbox looks like afterwards."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .case import Attempt
from .command import UNEXPECTED
from .tree import changes

__all__ = ["FAILURES", "Ending", "judge"]

OURS, LEGITIMATE = "our error", "legitimate"
FAILURES = ("foreign", "silent", "damaged", "left over", "hang", "crash")
WORK_SUFFIX = ".dotresize-work"  # of the directory of kept layers
EXECUTED = "home/executed"  # the mark of containers.py
ERROR_CODES = (1, 2, 3, 4)


@dataclass(frozen=True, kw_only=True)
class Ending:
    """How a command ended."""

    code: int | None  # None: it was stopped after its time
    signal: int | None
    stderr: str
    escaped: str  # the exception that went through the command line, or empty
    lies: Sequence[str]  # of a command that succeeded, see truth.py
    alive: Sequence[str]  # processes that it left behind
    root: str  # the sandbox
    before: dict[str, str]  # it, see tree.py
    after: dict[str, str]


def judge(attempt: Attempt, ending: Ending) -> tuple[str, str]:
    """The verdict and one line that explains it."""
    if damage := _damage(attempt, ending):
        return "damaged", damage
    if ending.code is None:
        return "hang", f"stopped after {attempt.seconds} s"
    if ending.signal is not None:
        return "crash", f"killed by signal {ending.signal}: {_last_line(ending.stderr)}"
    if ending.escaped or ending.code == UNEXPECTED or "Traceback (most recent" in ending.stderr:
        return "foreign", ending.escaped or _last_line(ending.stderr)
    if ending.code == 0 and attempt.must_fail:
        return "silent", attempt.must_fail
    if ending.lies:
        return "silent", "; ".join(ending.lies[:3])[:300]
    if ending.alive:
        return "left over", f"still alive: {ending.alive[0]}"
    if left := _left_over(attempt, ending):
        return "left over", left
    if ending.code == 0:
        return LEGITIMATE, ""
    if ending.code not in ERROR_CODES:
        return "foreign", f"exit code {ending.code}: {_last_line(ending.stderr)}"
    return OURS, _last_line(ending.stderr)


def _damage(attempt: Attempt, ending: Ending) -> str:
    if EXECUTED in ending.after:
        return "code that came with a model was executed"
    allowed = [*attempt.touched, *(attempt.replaced if ending.code == 0 else [])]
    altered, added = changes(ending.before, ending.after, altering=allowed)
    inside = [path for path in added if path.startswith(("home/model/", "home/precious/", "neighbour/"))]
    if altered:
        return f"changed or gone: {', '.join(altered[:3])}"
    return f"written among the user's files: {', '.join(inside[:3])}" if inside else ""


def _left_over(attempt: Attempt, ending: Ending) -> str:
    """What appeared beside the output; a run that can be resumed may leave its work directory."""
    allowed = list(attempt.touched)
    if out := _inside(attempt.output, ending.root):
        work = f"{Path(out).parent}/.{Path(out).name}{WORK_SUFFIX}"
        finished = ending.code == 0 or f"{out}/dotresize.json" in ending.after  # written, then not measured
        written = [out, f"{out}.dotresize", *(str(parent) for parent in Path(out).parents)]
        allowed += written if finished else [work]
    if ending.code == 0 and (kept := [path for path in attempt.gone if path in ending.after]):
        return f"still there: {', '.join(kept[:3])}"
    added = changes(ending.before, ending.after, altering=allowed).added
    return f"left behind: {', '.join(added[:3])}" if added else ""


def _inside(output: str | None, root: str) -> str:
    """The output as a path in the sandbox; empty where no file can be called that."""
    try:
        return os.path.relpath(os.path.realpath(Path(root) / "home" / output), root) if output else ""
    except (ValueError, OSError):
        return ""


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""
