"""Recover: wins back by distillation what narrowing lost. A checkpoint in, another of the same shape out.

The package itself is callable, as `dotresize.compress` is; see `dotresize.recover.pipeline.run`.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..compress.record.progress import Progress
    from .ask.config import RecoverConfig
    from .pipeline import Recovered


class CallablePackage(ModuleType):
    """A folder that is also a function."""

    def __call__(
        self,
        narrow: str | Path,
        teacher: str | Path,
        output: str | Path,
        config: "RecoverConfig",
        *,
        force: bool = False,
        progress: "Progress | None" = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> "Recovered":
        """Recover a narrowed checkpoint; the same call resumes after an interrupt.

        Args:
            narrow: the checkpoint to start from.
            teacher: the original.
            output: directory to write.
            config: text, tokens or minutes, and what is trained.
            force: replace an earlier output.
            progress: told about every step; silent by default.
            say: gets a line for each thing worth reading.

        Raises:
            InputError: a model, a text or an option cannot be used.
            ConvergenceError: the loss is not finite.
            OutputError: the output is in the way or cannot be written.
        """
        from ..compress.record.progress import Silent
        from .pipeline import run

        shown = progress or Silent()
        return run(str(narrow), str(teacher), Path(output), config, progress=shown, say=say, force=force)


sys.modules[__name__].__class__ = CallablePackage
