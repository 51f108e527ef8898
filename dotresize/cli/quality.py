"""`dotresize perplexity`: score models on the same texts."""

from typing import TYPE_CHECKING, Annotated

import typer

from .options.run import Device, Json, TrustRemoteCode
from .options.texts import Evaluation, EvaluationWindows, WindowTokens
from .output import emit, quiet_libraries

if TYPE_CHECKING:
    from ..compress.record.report import CalibrationRecord


def perplexity_command(
    models: Annotated[
        list[str], typer.Argument(help="Directories (or other MODELs); the others are compared to the first.")
    ],
    evaluation: Evaluation = None,
    window_tokens: WindowTokens = 1024,
    evaluation_windows: EvaluationWindows = None,
    device: Device = "auto",
    trust_remote_code: TrustRemoteCode = False,
    as_json: Json = False,
) -> None:
    """Perplexity with its standard error, and ratio and mean KL to the first model, text by text."""
    quiet_libraries()
    from ..bench.quality.perplexity import check_same_tokenizer
    from ..bench.quality.text_quality import measure_texts, windows_of_texts
    from ..compress.run import choose_device
    from ..compress.weights.source import load_dense
    from ..export.quantised_source import open_quantised
    from .progress import ProgressBar
    from .tables import quality_tables

    _check(models, window_tokens, evaluation_windows)
    torch_device = choose_device(device)
    loaded = {
        name: quantised.load()
        if (quantised := open_quantised(name))
        else load_dense(name, any_family=True, trust_remote_code=trust_remote_code)
        for name in models
    }
    check_same_tokenizer({name: each.tokenizer for name, each in loaded.items()})
    texts = windows_of_texts(
        evaluation or ["builtin"],
        loaded[models[0]].tokenizer,
        at_most=evaluation_windows,
        window_tokens=window_tokens,
    )
    with ProgressBar() as progress:
        record = measure_texts(
            {name: each.model for name, each in loaded.items()},
            texts,
            calibrations=_calibrations(models),
            device=torch_device,
            progress=progress,
        )
    emit(record, *quality_tables(record), as_json=as_json)


def _check(models: list[str], window_tokens: int, evaluation_windows: int | None) -> None:
    """Refuse what cannot be meant."""
    from ..errors import OptionError

    if evaluation_windows is not None and evaluation_windows < 1:
        raise OptionError(
            f"--evaluation-windows is {evaluation_windows}; expected at least 1, or leave it out "
            "for the whole text"
        )
    if window_tokens < 2:
        raise OptionError(f"--window-tokens is {window_tokens}; expected at least 2")
    if len(set(models)) != len(models):
        raise OptionError("a model was named twice; name each once.")


def _calibrations(models: list[str]) -> "dict[str, CalibrationRecord]":
    """What the manifests beside the models say that they were calibrated on."""
    from ..export.manifest import read_if_any
    from ..paths import path_of

    found = {}
    for name in models:
        directory = path_of(name, "MODEL")
        record = read_if_any(directory)
        if record is not None and record.report is not None:
            found[name] = record.report.calibration
    return found
