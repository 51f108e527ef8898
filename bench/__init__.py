"""Models and endpoints -> measured numbers.

The package itself is callable, as `dotresize.compress` is; see `dotresize.bench.run.run_bench`.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..compress.record.progress import Progress
    from .record.results import Results
    from .record.settings import BenchSettings


class CallablePackage(ModuleType):
    """A folder that is also a function."""

    def __call__(
        self,
        models: Sequence[str | Path],
        settings: "BenchSettings",
        output: str | Path,
        *,
        resume: bool = False,
        force: bool = False,
        progress: "Progress | None" = None,
    ) -> "Results":
        """Measure the original and its narrow copies, and write results and report into a directory.

        Args:
            models: the original first.
            settings: what to measure, on which engine.
            output: directory to write.
            resume: go on with an interrupted run.
            force: replace an older report.
            progress: told about every step; silent by default.

        Raises:
            DotresizeError: the models do not compare, the engine is missing, or the output is in the way.
                A failure of one measurement is recorded in the results and raises nothing.
        """
        from .run import run_bench

        call = f"dotresize.bench({[str(model) for model in models]}, {settings}, {str(output)!r})"
        return run_bench(
            [str(model) for model in models],
            settings,
            Path(output),
            command=call,
            resume=resume,
            force=force,
            progress=progress,
        )


sys.modules[__name__].__class__ = CallablePackage
