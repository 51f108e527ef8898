"""The course of a recovery for TensorBoard, where a directory for it is given."""

from pathlib import Path
from typing import Any

from ...errors import MissingDependencyError
from ...export.contract.recovery import CurvePoint

__all__ = ["Board"]


class Board:
    """Writes events, or nothing at all when it has no directory."""

    def __init__(self, directory: Path | None) -> None:
        """Open a directory, which is made when it is missing.

        Raises:
            MissingDependencyError: TensorBoard is not installed.
        """
        self._writer: Any = None
        if directory is None:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingDependencyError(
                "--tensorboard needs TensorBoard, which is not installed; run `pip install tensorboard`"
            ) from error
        self._writer = SummaryWriter(str(directory))

    def step(self, step: int, loss: float) -> None:
        """A step's loss, of one micro-batch."""
        if self._writer is not None:
            self._writer.add_scalar("loss", loss, step)

    def evaluation(self, point: CurvePoint) -> None:
        """A point of the curve."""
        if self._writer is None:
            return
        self._writer.add_scalar("held-out KL relative to the start", point.score, point.step)
        for text, value in point.held_out_kl.items():
            self._writer.add_scalar(f"held-out KL/{text}", value, point.step)
        self._writer.flush()

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.close()
