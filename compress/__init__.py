"""Text + model -> smaller model + report. Knows no ONNX, vLLM or HTTP.

The package itself is callable, so that `dotresize.compress(model, config)` works although
`dotresize.compress.fold` and its neighbours are modules of it.
"""

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .run import CompressResult


class _CallablePackage(ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> "CompressResult":
        from .run import compress

        return compress(*args, **kwargs)


sys.modules[__name__].__class__ = _CallablePackage
