"""Draws progress on stderr: a bar with an estimate on a terminal, a line per step elsewhere."""

from time import perf_counter
from types import TracebackType

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from .output import note_console

__all__ = ["ProgressBar"]


class ProgressBar:
    """Implements `compress.progress.Progress`; use it as a context manager."""

    def __init__(self) -> None:
        self._console = note_console()
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._step: str | None = None
        self._started, self._units, self._done = 0.0, 0, 0

    def __enter__(self) -> "ProgressBar":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._finish()
        self._bar.stop()

    def begin(self, step: str, units: int) -> None:
        """A step starts; the one before is done."""
        self._finish()
        self._step, self._started, self._units, self._done = step, perf_counter(), units, 0
        self._bar.add_task(step, total=units)

    def advance(self, units: int = 1) -> None:
        """Some units of the current step are done; with the last of them it ends, whatever follows."""
        if self._step is None:
            return
        self._done += units
        self._bar.advance(self._bar.tasks[-1].id, units)
        if self._done >= self._units:
            self._finish()

    def _finish(self) -> None:
        if self._step is None:
            return
        if self._bar.disable:
            self._console.print(f"{self._step}: {perf_counter() - self._started:.0f} s")
        else:
            task = self._bar.tasks[-1]
            self._bar.update(task.id, completed=task.total)
        self._step = None
