"""The command line of our own server over ONNX Runtime GenAI."""

import importlib.util
import sys

from ...errors import MissingDependencyError, ModelError, OptionError
from ...export.disk.model_files import is_onnx_directory
from .command import Command
from .options import ServeOptions

__all__ = ["API_KEY_VARIABLE", "onnx_command"]

API_KEY_VARIABLE = "DOTRESIZE_API_KEY"
REQUIRED_MODULES = ("onnxruntime_genai", "fastapi", "uvicorn", "tokenizers")


def onnx_command(options: ServeOptions, port: int) -> Command:
    """Decide the command line.

    Raises:
        ModelError: The directory is not an ONNX export.
        OptionError: An option that only vLLM has.
        MissingDependencyError: A package is not installed.
    """
    if not is_onnx_directory(options.directory):
        raise ModelError(
            f"{options.directory} holds no genai_config.json; the ONNX engine serves the output of "
            "`dotresize export onnx`"
        )
    _refuse_vllm_options(options)
    missing = [name for name in REQUIRED_MODULES if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingDependencyError(
            f"the ONNX engine needs {', '.join(missing)}: install `dotresize[export,serve]`"
        )
    arguments = [sys.executable, "-m", "dotresize.serve.onnx_server.app", str(options.directory.resolve())]
    arguments += ["--host", options.host, "--port", str(port), "--served-model-name", options.model_name]
    if options.max_model_len is not None:
        arguments += ["--max-model-len", str(options.max_model_len)]
    exposed = not options.on_loopback and options.api_key is None
    return Command(
        engine="onnx",
        arguments=tuple(arguments),
        settings={},
        secrets={} if options.api_key is None else {API_KEY_VARIABLE: options.api_key},
        host=options.host,
        port=port,
        model_name=options.model_name,
        dtype="float32",
        notes=("one request at a time, the others wait in a queue: for many users serve through vLLM",),
        warnings=(f"{options.host} is reachable from other machines and no API key is set",)
        if exposed
        else (),
    )


def _refuse_vllm_options(options: ServeOptions) -> None:
    given = {
        "--dtype": options.dtype != "auto",
        "--device": options.device == "cuda",
        "--tensor-parallel-size": options.tensor_parallel_size != 1,
        "--pipeline-parallel-size": options.pipeline_parallel_size != 1,
        "--gpu-memory-utilization": options.gpu_memory_utilization is not None,
        "--draft": options.draft is not None,
        "--vllm-python": options.vllm_python is not None,
        "engine flags after --": bool(options.engine_flags),
    }
    refused = [name for name, is_given in given.items() if is_given]
    if refused:
        raise OptionError(f"{', '.join(refused)} cannot take effect with the ONNX engine; leave it out")
