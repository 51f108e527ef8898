"""Reopen an output with the real runtimes, in fresh processes, and compare with its reference logits.

An output is first looked at as files, then run by every runtime that its format is made for. Every miss
is recorded, so one broken thing does not hide another. The result is kept in the manifest.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from ...errors import MissingDependencyError, OptionError
from ..contract import manifest, reference
from ..contract.manifest import Check, Manifest
from ..for_gguf.to_gguf import record_directory
from .proofs import PROOFS, Artefact, Proof
from .structure import check_files, check_reference, check_tensors

__all__ = ["verify"]


def verify(path: Path, *, runtime: str = "all", progress: Callable[[str], None] = lambda _: None) -> Manifest:
    """Check an output and record the result in its manifest.

    Args:
        path: The directory that `dotresize compress` or `export` wrote, or the GGUF file.
        runtime: "all", or one runtime of the format: transformers, vllm, onnxruntime, llama-cpp.
        progress: Called with one line before each step.

    Returns:
        The manifest as it was rewritten; `manifest.verified` says whether everything passed.

    Raises:
        ManifestError: The output is not ours or not finished.
        OptionError: The runtime does not open this format.
        MissingDependencyError: A runtime is not installed; nothing was run.
    """
    artefact = _open(Path(path))
    proofs = _choose(artefact.manifest.format, runtime)
    checks = list(_structural(artefact, progress))
    for proof in proofs:
        progress(f"running {proof.runtime} in a fresh process (starting vLLM takes a while)")
        checks += proof.run(artefact)
    record = replace(artefact.manifest, verification=tuple(checks))
    manifest.write(record, artefact.record)
    return record


def _open(path: Path) -> Artefact:
    record = record_directory(path) if path.is_file() else path
    found = manifest.read(record)
    if found.format not in PROOFS:
        raise OptionError(
            f"{path} holds an {found.format}, which is verified with the model that it is added to: its "
            "manifest has the KL on held-out text with and without it"
        )
    return Artefact(path=path, record=record, manifest=found, reference=reference.load(record))


def _choose(format_name: str, runtime: str) -> list[Proof]:
    known = PROOFS[format_name]
    if runtime != "all" and runtime not in (proof.runtime for proof in known):
        names = ", ".join(proof.runtime for proof in known)
        raise OptionError(f"--runtime {runtime} does not open {format_name}, expected one of {names}, all")
    chosen = [proof for proof in known if runtime in ("all", proof.runtime)]
    absent = [proof for proof in chosen if not proof.installed and not (runtime == "all" and proof.optional)]
    if absent:
        raise MissingDependencyError(_explain(absent[0], known))
    return [proof for proof in chosen if proof.installed]


def _explain(absent: Proof, known: Sequence[Proof]) -> str:
    others = [proof.runtime for proof in known if proof.installed]
    instead = f", or ask for --runtime {others[0]} alone" if others else ""
    return (
        f"{absent.runtime} is not installed, so the proof that it opens this output cannot run: "
        f"{absent.install}{instead}"
    )


def _structural(artefact: Artefact, progress: Callable[[str], None]) -> Iterable[Check]:
    progress("checking files, shapes and values")
    folder = artefact.path.parent if artefact.path.is_file() else artefact.path
    yield check_files(folder, artefact.manifest)
    yield check_reference(artefact.record, artefact.manifest)
    if artefact.manifest.format == "huggingface":
        yield check_tensors(artefact.path)
