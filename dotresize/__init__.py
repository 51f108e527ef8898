"""dotresize: make large language models narrower, and ship them.

`dotresize.compress(model, CompressConfig(...))` narrows a model, `dotresize.save(result, directory)` writes
it as a stock Hugging Face checkpoint; `recover`, `verify`, `export_vllm`, `export_onnx`, `export_gguf`,
`serve`, `bench`, `perplexity` and `plan` are what the commands of these names do. Importing this package
imports neither torch nor transformers; the public names are resolved when they are first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

from .version import __version__

if TYPE_CHECKING:
    from .bench import CallablePackage as _Bench
    from .bench.quality.models_on_texts import perplexity
    from .bench.record.settings import BenchSettings
    from .compress import CallablePackage as _Compress
    from .compress.record.config import CompressConfig
    from .compress.record.report import Report
    from .compress.run import CompressResult
    from .export.checkpoint.write import save
    from .export.for_gguf.to_gguf import GgufConfig, export_gguf
    from .export.for_vllm.to_vllm import VllmConfig, export_vllm
    from .export.proof.verify import verify
    from .export.to_onnx import OnnxConfig, export_onnx
    from .plan import CallablePackage as _Plan
    from .plan.budget import Budget
    from .plan.settings import PlanSettings
    from .recover import CallablePackage as _Recover
    from .recover.ask.config import RecoverConfig
    from .serve import CallablePackage as _Serve
    from .serve.engine.options import ServeOptions

    bench: _Bench
    compress: _Compress
    plan: _Plan
    recover: _Recover
    serve: _Serve

# Name -> the module that has it. The stages of `_STAGES` are folders that can be called.
_STAGES = ("bench", "compress", "plan", "recover", "serve")
_HOME = {
    "BenchSettings": "bench.record.settings",
    "Budget": "plan.budget",
    "CompressConfig": "compress.record.config",
    "CompressResult": "compress.run",
    "GgufConfig": "export.for_gguf.to_gguf",
    "OnnxConfig": "export.to_onnx",
    "PlanSettings": "plan.settings",
    "RecoverConfig": "recover.ask.config",
    "Report": "compress.record.report",
    "ServeOptions": "serve.engine.options",
    "VllmConfig": "export.for_vllm.to_vllm",
    "export_gguf": "export.for_gguf.to_gguf",
    "export_onnx": "export.to_onnx",
    "export_vllm": "export.for_vllm.to_vllm",
    "perplexity": "bench.quality.models_on_texts",
    "save": "export.checkpoint.write",
    "verify": "export.proof.verify",
}

__all__ = [
    "BenchSettings",
    "Budget",
    "CompressConfig",
    "CompressResult",
    "GgufConfig",
    "OnnxConfig",
    "PlanSettings",
    "RecoverConfig",
    "Report",
    "ServeOptions",
    "VllmConfig",
    "__version__",
    "bench",
    "compress",
    "export_gguf",
    "export_onnx",
    "export_vllm",
    "perplexity",
    "plan",
    "recover",
    "save",
    "serve",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name in _STAGES:
        return importlib.import_module(f"dotresize.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'dotresize' has no attribute {name!r}")
    return getattr(importlib.import_module(f"dotresize.{_HOME[name]}"), name)
