"""dotresize: make large language models narrower, and ship them.

`dotresize.compress(model, CompressConfig(...))` narrows a model, `dotresize.save(result, directory)`
writes it as a stock Hugging Face checkpoint. Importing this package imports neither torch nor
transformers; the public names below are resolved when they are first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from .version import __version__

if TYPE_CHECKING:
    from .compress.record.config import CompressConfig
    from .compress.record.report import Report
    from .compress.run import CompressResult
    from .export.checkpoint import save

__all__ = ["CompressConfig", "CompressResult", "Report", "__version__", "compress", "save"]

_HOME = {
    "compress": ("dotresize.compress", None),  # the subpackage; calling it runs compress.run.compress
    "CompressConfig": ("dotresize.compress.record.config", "CompressConfig"),
    "CompressResult": ("dotresize.compress.run", "CompressResult"),
    "Report": ("dotresize.compress.record.report", "Report"),
    "save": ("dotresize.export.checkpoint", "save"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'dotresize' has no attribute {name!r}")
    module_name, attribute = _HOME[name]
    module = importlib.import_module(module_name)
    return module if attribute is None else getattr(module, attribute)
