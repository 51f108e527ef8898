"""Checkpoint -> ONNX directory for ONNX Runtime and ONNX Runtime GenAI, through GenAI's own model builder.

The builder runs as a child process: it puts top-level modules on `sys.path`, prints, and holds the
whole model in memory.
"""

import importlib.util
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from ..errors import MissingDependencyError, ModelError, OptionError
from .checkpoint.source import ExportSource, check_model, copy_reference, open_source
from .contract import manifest
from .contract.manifest import Manifest
from .disk.licences import copy_licences
from .disk.room import check_room, free_bytes_at, matrix_bytes, stored_headers
from .disk.staging import check_apart, check_free, staged_directory
from .process.child import ChildError, run_child

__all__ = ["OnnxConfig", "export_onnx"]

Precision = Literal["fp32", "fp16", "bf16", "int8", "int4"]
Provider = Literal["cpu", "cuda"]
COMBINATIONS = {"cpu": ("fp32", "int8", "int4"), "cuda": ("fp32", "fp16", "bf16", "int8", "int4")}
# Decoder families of the builder that keep head_dim apart from hidden size over heads. It also names Gemma 3
# and SmolLM3, and fails on them: on rotary settings by kind of layer, and on layers without any.
ARCHITECTURES = (
    "GemmaForCausalLM",
    "Gemma2ForCausalLM",
    "GraniteForCausalLM",
    "LlamaForCausalLM",
    "MistralForCausalLM",
    "NemotronForCausalLM",
    "OlmoForCausalLM",
    "PhiForCausalLM",
    "Phi3ForCausalLM",
    "Qwen2ForCausalLM",
    "Qwen3ForCausalLM",
)
FILES = ("model.onnx", "model.onnx.data", "genai_config.json")
WEIGHT_BYTES = {"fp32": 4.0, "fp16": 2.0, "bf16": 2.0, "int8": 1.0, "int4": 0.5}  # of a matrix, at least
_TENSOR_COUNT = re.compile(r"\| (\d+)/(\d+) \[")


@dataclass(frozen=True, kw_only=True)
class OnnxConfig:
    """What to export.

    Raises:
        OptionError: A precision that the provider has no kernels for.
    """

    precision: Precision = "int4"
    provider: Provider = "cpu"

    def __post_init__(self) -> None:
        if self.provider not in COMBINATIONS:
            raise OptionError(
                f"--provider {self.provider} is unknown, expected one of {', '.join(get_args(Provider))}"
            )
        if self.precision not in COMBINATIONS[self.provider]:
            works = "; ".join(f"{provider}: {', '.join(names)}" for provider, names in COMBINATIONS.items())
            raise OptionError(
                f"--dtype {self.precision} does not run on {self.provider}; what works: {works}"
            )


def export_onnx(
    directory: Path,
    output: Path,
    config: OnnxConfig,
    *,
    force: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> Manifest:
    """Write an ONNX directory that `onnxruntime_genai` and bare `onnxruntime` open.

    Args:
        directory: A checkpoint that `dotresize compress` wrote.
        output: Where to write; appears only when it is complete.
        config: Precision and execution provider.
        force: Replace an earlier output.
        progress: Called with one line before and during each step.

    Raises:
        ManifestError: `directory` is not ours or not finished.
        ModelError: The builder has no such architecture, or fails on this one.
        MissingDependencyError: The `export` extra is not installed.
        OptionError: CUDA is asked for where there is none.
        OutputError: The output exists or cannot be written.
    """
    source = open_source(directory)
    _check_possible(source, config)
    check_apart(output, [directory])
    check_free(output, force=force)
    needed_bytes = matrix_bytes(stored_headers(directory), WEIGHT_BYTES[config.precision])
    check_room(output, {"the weights": needed_bytes}, free_bytes=free_bytes_at(output))
    check_model(source)
    with staged_directory(output, force=force) as temporary:
        progress(f"building ONNX {config.precision} for {config.provider}")
        _build(source, temporary, config, progress)
        progress("hashing")
        copy_licences(source.directory, temporary)
        record = Manifest(
            format="onnx",
            precision=config.precision,
            provider=config.provider,
            report=source.manifest.report,
            quality=None,  # what was measured on the checkpoint is not claimed for another precision
            source=source.provenance,
            files={name: manifest.file_record(temporary / name) for name in FILES},
            reference=copy_reference(source, temporary),
        )
        manifest.write(record, temporary)
    return record


def _check_possible(source: ExportSource, config: OnnxConfig) -> None:
    if source.architecture not in ARCHITECTURES:
        raise ModelError(
            f"ONNX Runtime GenAI's model builder has no {source.architecture}; it exports "
            f"{', '.join(ARCHITECTURES)}"
        )
    _check_window(source.config)
    for module in ("onnxruntime_genai", "onnxruntime", "onnx"):
        if importlib.util.find_spec(module) is None:
            raise MissingDependencyError(f'{module} is not installed: pip install "dotresize[export]"')
    if config.provider == "cuda":
        require_cuda()


def _check_window(config: dict[str, Any]) -> None:
    """Refuse a window that the builder would drop: it looks for one only where the config names layers.

    The reference prompts are shorter than most windows, so `verify` would not see it.
    """
    window, longest = config.get("sliding_window"), config.get("max_position_embeddings")
    narrow = isinstance(window, int) and isinstance(longest, int) and window < longest
    if narrow and not config.get("layer_types"):
        raise ModelError(
            f"sliding_window is {window}, and ONNX Runtime GenAI's model builder lets this architecture "
            "attend to everything, so the text would differ beyond the window; it exports models without a "
            "window, and those whose config.json has layer_types, such as Gemma 2"
        )


def require_cuda() -> None:
    """Refuse CUDA where this ONNX Runtime cannot use it: the result could not be proven to run.

    Raises:
        OptionError: No CUDA execution provider here.
    """
    import onnxruntime
    import torch

    if not torch.cuda.is_available() or "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise OptionError(
            "--provider cuda needs an NVIDIA GPU and onnxruntime-gpu, and this machine offers "
            f"{', '.join(onnxruntime.get_available_providers())}; use --provider cpu, or a GPU machine"
        )


def _build(source: ExportSource, target: Path, config: OnnxConfig, progress: Callable[[str], None]) -> None:
    def follow(line: str) -> None:
        if found := _TENSOR_COUNT.search(line):
            progress(f"writing tensor {found[1]} of {found[2]}")
        elif line.startswith(("Reading", "Saving", "Quantizing")):
            progress(f"{line.split(' in ')[0]}")

    builder = ["-m", "onnxruntime_genai.models.builder", "-i", str(source.directory.resolve())]
    options = ["-o", ".", "-p", config.precision, "-e", config.provider, "-c", "cache"]
    try:
        run_child(
            [*builder, *options, "--extra_options", *_extra_options(source, config)],
            folder=target,
            on_line=follow,
        )
    except ChildError as error:
        raise ModelError(
            f"ONNX Runtime GenAI's model builder failed on {source.directory}: {error}"
        ) from error
    missing = [name for name in FILES if not (target / name).is_file()]
    if missing:
        raise ModelError(f"ONNX Runtime GenAI's model builder wrote no {', '.join(missing)}")


def _extra_options(source: ExportSource, config: OnnxConfig) -> list[str]:
    """Builder options; int4 keeps its most sensitive matrices in int8.

    Measured on a narrowed SmolLM2 (513 hidden, 1152 MLP): mean KL 0.82 with int4 everywhere, 0.37 with
    the mixture, for 12 % more bytes. A tied head stays int4: the builder (0.18) then shares it with the
    embedding, and writes a graph that does not load when only the head is int8.
    """
    # bare ONNX Runtime, which also has to run it, cannot size caches that are bounded by a window
    options = ["hf_token=false", "windowed_kv_cache=false"]
    if config.precision == "int4":
        tied = bool(source.config.get("tie_word_embeddings"))
        mixture = "mixed_layers:int8" if tied else "last_matmul:int8,mixed_layers:int8"
        options += ["algo_config=default", f"matmul_mixed_precision={mixture}"]
    return options
