"""Models by name, texts by name -> their perplexities, side by side."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...compress.record.progress import Progress
from ...compress.record.report import CalibrationRecord
from ...compress.run import choose_device
from ...compress.weights.source import DenseModel, load_dense
from ...errors import OptionError
from ...export.contract.manifest import read_if_any
from ...export.for_vllm.quantised_source import open_quantised
from ...paths import path_of
from .perplexity import check_same_tokenizer
from .text_quality import measure_texts, windows_of_texts

__all__ = ["perplexity"]


def perplexity(
    models: Sequence[str | Path],
    evaluation: Sequence[str] = ("builtin",),
    *,
    window_tokens: int = 1024,
    evaluation_windows: int | None = None,
    device: str = "auto",
    trust_remote_code: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Score models on the same windows of each text.

    Args:
        models: directories, hub ids, .gguf files or `demo:smollm2-135m`; the first is what the others are
            compared to. All are in memory at once.
        evaluation: texts, as `compress` takes them.
        window_tokens: tokens per window.
        evaluation_windows: windows of each text at most; None takes all.
        device: auto, cpu or cuda.
        trust_remote_code: run code that comes with a model.
        progress: told about every window.

    Returns:
        `texts`, each with a row per model: perplexity with its standard error, ratio and mean KL to the
        first; where there are several texts, a `summary` with geometric mean and worst. See `quality_record`.

    Raises:
        OptionError: a number out of range, or a model named twice.
        InputError: a model or a text cannot be used, or the models have different tokenizers.
    """
    names = [str(model) for model in models]
    _check(names, window_tokens, evaluation_windows)
    chosen = choose_device(device)
    loaded = {name: _load(name, trust_remote_code) for name in names}
    check_same_tokenizer({name: each.tokenizer for name, each in loaded.items()})
    texts = windows_of_texts(
        list(evaluation),
        loaded[names[0]].tokenizer,
        at_most=evaluation_windows,
        window_tokens=window_tokens,
    )
    return measure_texts(
        {name: each.model for name, each in loaded.items()},
        texts,
        calibrations=_calibrations(names),
        device=chosen,
        progress=progress,
    )


def _check(models: Sequence[str], window_tokens: int, evaluation_windows: int | None) -> None:
    """Refuse what cannot be meant."""
    if evaluation_windows is not None and evaluation_windows < 1:
        raise OptionError(
            f"--evaluation-windows is {evaluation_windows}; expected at least 1, or leave it out "
            "for the whole text"
        )
    if window_tokens < 2:
        raise OptionError(f"--window-tokens is {window_tokens}; expected at least 2")
    if len(set(models)) != len(models):
        raise OptionError("a model was named twice; name each once.")


def _load(name: str, trust_remote_code: bool) -> DenseModel:
    quantised = open_quantised(name)
    if quantised is not None:
        return quantised.load()
    return load_dense(name, any_family=True, trust_remote_code=trust_remote_code)


def _calibrations(models: Sequence[str]) -> dict[str, CalibrationRecord]:
    """What the manifests beside the models say that they were calibrated on."""
    found = {}
    for name in models:
        record = read_if_any(path_of(name, "MODEL"))
        if record is not None and record.report is not None:
            found[name] = record.report.calibration
    return found
