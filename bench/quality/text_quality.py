"""Perplexity on several texts at once: a row per text, what it is to the calibration, and their summary."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import torch

from ...compress.record.progress import Progress, Silent
from ...compress.record.report import CalibrationRecord
from ...compress.text.calibration import Windows, leading_windows
from ...compress.text.documents import evaluation_texts
from ...compress.text.kinship import kinship
from ..record.results import Estimate
from .perplexity import ModelPerplexity, Scorer, measure_perplexity

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["measure_texts", "quality_record", "texts_of", "windows_of_texts"]

_MUCH_MORE = 2.0  # times the log of the ratio on the calibration's kind, from which a warning is due
_AT_LEAST = 1.1  # ratio below which no text is worth one


def windows_of_texts(
    specs: Sequence[str],
    tokenizer: "PreTrainedTokenizerBase",
    *,
    window_tokens: int,
    windows: int | None = None,
    at_most: int | None = None,
) -> list[Windows]:
    """The evaluation windows of several texts; `builtin` stands for each of its parts.

    Args:
        specs: texts, see `compress.text.read_documents`.
        tokenizer: of all models.
        window_tokens: tokens per window.
        windows: of each text, exactly; None takes what there is.
        at_most: windows of each text; None takes all.

    Raises:
        TextError: a text is missing or too short.
    """
    return [
        leading_windows(spec, tokenizer, window_tokens=window_tokens, windows=windows, at_most=at_most)
        for spec in evaluation_texts(specs)
    ]


def measure_texts(
    models: "Mapping[str, PreTrainedModel | Scorer]",
    texts: Sequence[Windows],
    *,
    calibrations: Mapping[str, CalibrationRecord] | None = None,
    device: torch.device | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Score the models on each text, the same windows for all.

    Args:
        models: as of `measure_perplexity`; the first is what the others are compared to.
        texts: from `windows_of_texts`.
        calibrations: name -> what a model was calibrated on, where that is known.
        device: where to run; each model's own device by default.
        progress: told about every window.

    Returns:
        The record of `quality_record`.
    """
    measured = []
    for text in texts:
        named = _Named(progress or Silent(), text.record.name if len(texts) > 1 else "")
        measured.append((text, measure_perplexity(models, text, device=device, progress=named)))
    return quality_record(measured, calibrations or {})


class _Named:
    """Progress whose steps also name the text."""

    def __init__(self, progress: Progress, text: str) -> None:
        self._progress, self._text = progress, text

    def begin(self, step: str, units: int) -> None:
        """As `Progress.begin`."""
        self._progress.begin(f"{step}, {self._text}" if self._text else step, units)

    def advance(self, units: int = 1) -> None:
        """As `Progress.advance`."""
        self._progress.advance(units)


def quality_record(
    measured: Sequence[tuple[Windows, list[ModelPerplexity]]], calibrations: Mapping[str, CalibrationRecord]
) -> dict[str, Any]:
    """JSON-ready record.

    `texts` has a row per text with every model's numbers. A model's `calibrated_on` says whether it was
    calibrated on that very "text", on other text of its "kind", or, with null, on neither. `summary` has the
    geometric mean and the worst of the ratios of every model but the first, over all texts, and again over
    those that it was not calibrated on when there are both. `warnings` are lines for people.
    """
    texts = []
    for windows, qualities in measured:
        models = [
            asdict(quality) | {"calibrated_on": _relation(calibrations.get(quality.name), windows)}
            for quality in qualities
        ]
        texts.append(
            {
                "text": windows.record.name,
                "windows": windows.record.windows,
                "window_tokens": windows.record.window_tokens,
                "text_sha256": windows.record.sha256,
                "models": models,
            }
        )
    names = [quality.name for quality in measured[0][1][1:]]
    summary = [line for name in names for line in _summaries(name, texts)]
    warnings = [line for name in names if name in calibrations and (line := _warning(name, texts))]
    return {"texts": texts, "summary": summary, "warnings": warnings}


def texts_of(quality: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows per text of a record, also of one that was written when there was one text only."""
    rows: list[dict[str, Any]] = list(quality["texts"]) if "texts" in quality else [dict(quality)]
    return rows


def _relation(calibration: CalibrationRecord | None, windows: Windows) -> str | None:
    return None if calibration is None else kinship(calibration, windows.record)


def _row(text: dict[str, Any], name: str) -> dict[str, Any]:
    (row,) = (model for model in text["models"] if model["name"] == name)
    return dict(row)


def _summaries(name: str, texts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    foreign = [text for text in texts if _row(text, name)["calibrated_on"] is None]
    scopes = [("all texts", texts)]
    if 0 < len(foreign) < len(texts):
        scopes.append(("not calibrated on", foreign))
    return [
        _summary(name, scope, chosen) for scope, chosen in scopes if len(chosen) > 1 or scope != "all texts"
    ]


def _summary(name: str, scope: str, texts: list[dict[str, Any]]) -> dict[str, Any]:
    """Geometric mean of the ratios, with the standard error that the delta method gives, and the worst."""
    ratios = [_row(text, name)["perplexity_ratio"] for text in texts]
    value = math.exp(math.fsum(math.log(ratio["value"]) for ratio in ratios) / len(ratios))
    errors = [ratio["standard_error"] for ratio in ratios]
    relative = [
        error / ratio["value"] for error, ratio in zip(errors, ratios, strict=True) if error is not None
    ]
    error = value * math.hypot(*relative) / len(ratios) if len(relative) == len(ratios) else None
    worst = max(range(len(ratios)), key=lambda index: ratios[index]["value"])
    return {
        "name": name,
        "scope": scope,
        "texts": len(texts),
        "geometric_mean": asdict(Estimate(value=value, standard_error=error)),
        "worst": ratios[worst],
        "worst_text": texts[worst]["text"],
    }


def _warning(name: str, texts: list[dict[str, Any]]) -> str | None:
    """A line when a text of another kind loses much more than the calibration's kind."""
    rows = [(text["text"], _row(text, name)) for text in texts]
    akin = [row["perplexity_ratio"]["value"] for _, row in rows if row["calibrated_on"] is not None]
    foreign = [(row["perplexity_ratio"]["value"], text) for text, row in rows if row["calibrated_on"] is None]
    if not foreign or len(rows) < 2:
        return None
    lost, where = max(foreign)
    kept = max(akin) if akin else min(foreign)[0]
    if lost < _AT_LEAST or math.log(lost) < _MUCH_MORE * math.log(max(kept, 1.0)):
        return None
    compared = "text like the calibration's" if akin else min(foreign)[1]
    return (
        f"{name} loses much more on {where} (ratio {lost:.2f}) than on {compared} ({kept:.2f}): it "
        "keeps little outside its calibration; add text of that kind, --calibration FILE, or self"
    )
