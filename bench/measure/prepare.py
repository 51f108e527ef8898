"""What the user named -> directories that the chosen engine loads, described and known to be comparable."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Literal

from ...compress.record.progress import Progress
from ...compress.weights.source import load_dense
from ...errors import InputError, ModelError
from ...export.artefact_info import inspect_artefact
from ...export.checkpoint.dense import save_dense
from ...export.contract.manifest import MANIFEST_NAME
from ...export.disk.model_files import is_onnx_directory
from ...export.for_vllm.config import refuse_without_kernel
from ...export.for_vllm.processor import processor_flags
from ...export.to_onnx import OnnxConfig, export_onnx
from ...serve.engine.machine import read_machine
from ..record.results import BenchModel
from ..record.settings import BenchSettings
from ..roofline.model_cost import describe
from .baseline import check_baselines, named, quantised
from .making import making_of

__all__ = ["prepare", "settle", "stored", "unique_names"]


def settle(settings: BenchSettings) -> BenchSettings:
    """Replace every "auto" by what this machine gets, as `dotresize serve` would choose.

    On the processor vLLM's compiler is off unless the flags say otherwise: it makes every one of the many
    starts a minute longer. Decoding is slower without it, so the flag is part of the recorded settings.
    """
    machine = read_machine()
    device = settings.device
    if device == "auto":
        device = "cuda" if machine.gpus else "cpu"
    dtype = settings.dtype
    if settings.engine == "onnx":
        dtype = {"fp16": "float16", "bf16": "bfloat16"}.get(settings.precision, "float32")  # type: ignore[assignment]
    elif dtype == "auto":
        dtype = "bfloat16" if device == "cuda" or machine.native_bfloat16 else "float32"
    flags = settings.engine_flags
    if settings.engine == "vllm" and device == "cpu" and not any("enforce-eager" in flag for flag in flags):
        flags = ("--enforce-eager", *flags)
    return replace(settings, device=device, dtype=dtype, engine_flags=flags)


def prepare(sources: list[str], settings: BenchSettings, work: Path, progress: Progress) -> list[BenchModel]:
    """Bring every model into the form that the engine loads; finished ones are reused.

    Args:
        sources: the original first; directories, or any MODEL that `dotresize compress` takes, each also as
            MODEL@PRECISION (`baseline`).
        settings: settled.
        work: gets copies where the user's own directory does not fit the engine.
        progress: told about every model.

    Raises:
        InputError: Fewer than two models, or tokenizers that differ.
        ModelError: A model is missing or of a format that the engine does not load.
    """
    if len(sources) < 2:
        raise InputError("one model is no comparison; name the original and at least one narrow model")
    check_baselines(sources, settings)
    names = unique_names(sources)
    work.mkdir(parents=True, exist_ok=True)
    progress.begin("preparing the models", len(sources))
    models = []
    for name, source in zip(names, sources, strict=True):
        directory = _directory(name, source, settings, work)
        model = describe(directory.resolve(), name=name, source=source, dtype=settings.dtype)
        models.append(replace(model, making=making_of(directory)))
        progress.advance()
    _check_same_tokenizer(models)
    return models


def unique_names(sources: list[str]) -> list[str]:
    """Short names that tell the models apart: the last part of each path, more parts where needed."""
    parts = [[part for part in source.rstrip("/").split("/") if part not in ("", ".")] for source in sources]
    names = [split[-1] if split else source for split, source in zip(parts, sources, strict=True)]
    if any(count > 1 for count in Counter(names).values()):
        names = ["/".join(split[-2:]) for split in parts]
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        names = [f"{name} ({place + 1})" if name in repeated else name for place, name in enumerate(names)]
    return names


def _directory(name: str, source: str, settings: BenchSettings, work: Path) -> Path:
    source, precision = named(source)
    path = Path(source).expanduser()
    if settings.engine == "onnx":
        settings = replace(settings, precision=precision or settings.precision)  # type: ignore[arg-type]
        return (
            path if precision is None and is_onnx_directory(path) else _exported(name, source, settings, work)
        )
    if precision is not None:
        return _quantised(name, source, precision, settings, work)
    if is_onnx_directory(path):
        raise ModelError(
            f"{source} is an ONNX export, which the {settings.engine} engine does not load; give the "
            "checkpoint it was made from, or use --engine onnx"
        )
    if path.is_dir() and (found := inspect_artefact(path)).format in ("huggingface", "vllm"):
        if settings.engine == "vllm":
            refuse_without_kernel(found.precision, gpu=settings.device == "cuda", flags=processor_flags())
        return path
    return stored(name, source, work)


def stored(name: str, source: str, work: Path) -> Path:
    """A checkpoint made from a GGUF file, the demo model or a hub id, in a folder of `work`."""
    target = work / _file_name(name)
    if not (target / MANIFEST_NAME).is_file():
        save_dense(load_dense(source, any_family=True), target)
    return target


def _quantised(name: str, source: str, precision: str, settings: BenchSettings, work: Path) -> Path:
    """A quantised export, from the directory itself where that is a checkpoint of ours."""
    target = work / _file_name(name)
    if not (target / MANIFEST_NAME).is_file():
        path = Path(source).expanduser()
        ours = (path / MANIFEST_NAME).is_file()
        checkpoint = path if ours else stored(name.removesuffix(f"@{precision}"), source, work)
        quantised(checkpoint, target, precision, settings)
    return target


def _exported(name: str, source: str, settings: BenchSettings, work: Path) -> Path:
    """An ONNX export of a checkpoint, in the precision of the run."""
    target = work / f"{_file_name(name)}-onnx-{settings.precision}"
    if not (target / MANIFEST_NAME).is_file():
        path = Path(source).expanduser()
        checkpoint = path if (path / MANIFEST_NAME).is_file() else stored(name, source, work)
        provider: Literal["cpu", "cuda"] = "cuda" if settings.device == "cuda" else "cpu"
        export_onnx(checkpoint, target, OnnxConfig(precision=settings.precision, provider=provider))
    return target


def _file_name(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-._" else "-" for letter in name)


def _check_same_tokenizer(models: list[BenchModel]) -> None:
    original = models[0]
    for model in models[1:]:
        if model.tokenizer_sha256 != original.tokenizer_sha256:
            raise InputError(
                f"{model.name} has another vocabulary than {original.name}: the same text is another number "
                "of tokens, so tokens per second and perplexities do not compare; bench them in separate runs"
            )
