"""Text + model -> smaller model + report. Knows no ONNX, vLLM or HTTP.

The package itself is callable, because `dotresize.compress` is both the function and the folder:

    result = dotresize.compress("org/model", dotresize.CompressConfig(intermediate_size=0.75))
    dotresize.save(result, Path("narrow"))

`dotresize.CompressConfig` says what can be asked for, `dotresize.compress.run.compress` what comes back.
"""

import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .output.resume import WorkDirectory
    from .record.config import CompressConfig
    from .record.progress import Progress
    from .run import CompressResult
    from .weights.source import DenseModel


class CallablePackage(ModuleType):
    """A folder that is also a function."""

    def __call__(
        self,
        model: "str | Path | DenseModel",
        config: "CompressConfig",
        *,
        progress: "Progress | None" = None,
        work: "WorkDirectory | None" = None,
    ) -> "CompressResult":
        """Narrow a model; see `dotresize.compress.run.compress`.

        Args:
            model: a directory, hub id, .gguf file or `demo:smollm2-135m`, or what `load_dense` gives.
            config: what to do.
            progress: told about every step; silent by default.
            work: keeps finished layers, so that the same call resumes after an interrupt.

        Raises:
            InputError: the model, the text, a width or an option cannot be used.
            ConvergenceError: a fit or a transport plan did not converge.
        """
        from .run import compress

        return compress(model, config, progress=progress, work=work)


sys.modules[__name__].__class__ = CallablePackage
