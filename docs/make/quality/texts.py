"""The texts of the method benchmark: every domain, and what the calibrations are made of."""

import json
import math
from collections.abc import Sequence
from pathlib import Path

import torch

from dotresize.compress.record.progress import Progress
from dotresize.compress.text.mixture import SELF, mixture_of
from dotresize.compress.text.self_text import SelfText
from dotresize.compress.weights.source import DenseModel

from ..domains.suite import ENCYCLOPAEDIA, evaluation_files

__all__ = ["calibrations_at", "longer", "self_text_file", "write_self_texts"]

MIXED = (ENCYCLOPAEDIA, "documentation", "code", "chat")  # the other domains stay unseen
_SELF = "self-"  # seed and tokens follow


def self_text_file(directory: Path, tokens: int, seed: int) -> Path:
    """Where self text of at least that many tokens is, or goes."""
    return directory / f"{_SELF}{seed}-{tokens}.jsonl"


def longer(texts: Sequence[str], times: int) -> list[str]:
    """The same calibration for so many times the tokens: self text comes from a longer file."""
    found = []
    for part in mixture_of(texts):
        file, spec = Path(part.spec), part.spec
        if file.name.startswith(_SELF):
            tokens = math.ceil(_tokens_of(file) * part.share * times)
            spec = str(self_text_file(file.parent, tokens, _seed_of(file)))
        found.append(f"{spec}={part.share:g}")
    return found


def write_self_texts(dense: DenseModel, calibration: str | Sequence[str], progress: Progress) -> None:
    """Write the files of self text that a calibration names and that are not there.

    Args:
        dense: that writes; what it wrote for a shorter file is the beginning of a longer one.
        calibration: a text or several.
        progress: told about every text.
    """
    texts = [calibration] if isinstance(calibration, str) else calibration
    for file in (Path(part.spec) for part in mixture_of(texts)):
        if not file.name.startswith(_SELF) or file.is_file():
            continue
        writer = SelfText(
            dense=dense,
            device=torch.device("cpu"),
            seed=_seed_of(file),
            cache=file.parent,
            progress=progress,
        )
        written = writer.documents(_tokens_of(file))
        temporary = file.with_name(file.name + ".tmp")
        temporary.write_text("".join(json.dumps({"text": text}) + "\n" for text in written), encoding="utf-8")
        temporary.rename(file)


def _seed_of(file: Path) -> int:
    return int(file.stem.split("-")[1])


def _tokens_of(file: Path) -> int:
    return int(file.stem.split("-")[2])


def calibrations_at(directory: Path, self_text: Path) -> dict[str, list[str]]:
    """Name -> texts: WikiText-2, builtin, a mixture of kinds, self text alone."""
    there = evaluation_files(directory)
    halves = {name: str(directory / f"{name}.calibration.jsonl") for name in there}
    calibrations: dict[str, list[str]] = {}
    if ENCYCLOPAEDIA in halves:
        calibrations["WikiText-2"] = [halves[ENCYCLOPAEDIA]]
    calibrations["builtin"] = [
        f"{self_text if part.spec == SELF else part.spec}={part.share:g}" for part in mixture_of(["builtin"])
    ]
    calibrations["mixed"] = [halves[name] for name in MIXED if name in halves]
    calibrations["self"] = [str(self_text)]
    return calibrations
