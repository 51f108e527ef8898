"""Where finished parts of the narrow model go: into memory, or to the disk.

A part is the embeddings, one layer, or the final norm with the head; its tensors carry the names that they
have in the model.
"""

from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from ..output.resume import WorkDirectory
from .ranks import Ranks

__all__ = ["EMBEDDINGS", "HEAD", "MemorySink", "SharedSink", "Sink", "layer_part"]

EMBEDDINGS, HEAD = "embeddings", "head"


def layer_part(number: int) -> str:
    """The part of a layer of the narrow model."""
    return f"layer-{number:05d}"


class Sink(Protocol):
    """Takes every part once, in any order."""

    def finished(self, part: str) -> tuple[dict[str, Tensor], Any] | None:
        """The tensors and the record of a part that an earlier run has finished, or None."""

    def add(self, part: str, tensors: dict[str, Tensor], record: Any) -> None:
        """Take a part's tensors, on the CPU in the stored dtype, and a record that goes to JSON.

        Raises:
            OutputError: the disk is full or not writable.
        """


@dataclass(frozen=True)
class MemorySink:
    """Keeps all tensors; layers go to a work directory as well, so that an interrupted run goes on."""

    work: WorkDirectory
    state: dict[str, Tensor] = field(default_factory=dict)

    def finished(self, part: str) -> tuple[dict[str, Tensor], Any] | None:
        """As `Sink.finished`."""
        found = None if part in (EMBEDDINGS, HEAD) else self.work.load(part)
        if found is not None:
            self.state.update(found[0])
        return found

    def add(self, part: str, tensors: dict[str, Tensor], record: Any) -> None:
        """As `Sink.add`."""
        if part not in (EMBEDDINGS, HEAD):
            self.work.store(part, tensors, record)
        self.state.update(tensors)


@dataclass(frozen=True)
class SharedSink:
    """The sink of the first of several processes; all learn what an earlier run has finished."""

    sink: Sink | None  # None in the others
    ranks: Ranks

    def finished(self, part: str) -> tuple[dict[str, Tensor], Any] | None:
        """As `Sink.finished`."""
        return self.ranks.item(None if self.sink is None else self.sink.finished(part))

    def add(self, part: str, tensors: dict[str, Tensor], record: Any) -> None:
        """As `Sink.add`."""
        if self.sink is not None:
            self.sink.add(part, tensors, record)
