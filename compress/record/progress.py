"""How long work tells the outside where it stands; the command line draws it, a library call stays silent."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import perf_counter
from typing import Protocol

__all__ = ["InLines", "Progress", "Silent", "Stopwatch"]


class Progress(Protocol):
    """Receives steps; each has a known number of units."""

    def begin(self, step: str, units: int) -> None:
        """A step starts and will take `units` advances."""

    def advance(self, units: int = 1) -> None:
        """Some units of the current step are done."""


class Silent:
    """A Progress that shows nothing."""

    def begin(self, step: str, units: int) -> None:
        """Do nothing."""

    def advance(self, units: int = 1) -> None:
        """Do nothing."""


class InLines:
    """A Progress that says each step, and how far it is, in a line."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell, self._step, self._units, self._done = tell, "", 0, 0

    def begin(self, step: str, units: int) -> None:
        """A step starts."""
        self._step, self._units, self._done = step, units, 0
        self.advance(0)

    def advance(self, units: int = 1) -> None:
        """Some units are done."""
        self._done += units
        self._tell(f"{self._step}: {100 * self._done // max(self._units, 1)} %")


class Stopwatch:
    """Seconds per named step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def measure(self, step: str) -> Iterator[None]:
        """Add the seconds of the block to `step`."""
        start = perf_counter()
        try:
            yield
        finally:
            self.seconds[step] = self.seconds.get(step, 0.0) + perf_counter() - start
