"""The texts of the method benchmark: every domain, and what the calibrations are made of."""

import json
from pathlib import Path

import torch

from dotresize.compress.record.progress import Progress
from dotresize.compress.text.mixture import SELF, mixture_of
from dotresize.compress.text.self_text import SelfText
from dotresize.compress.weights.source import load_dense

from ..domains.suite import ENCYCLOPAEDIA, evaluation_files

__all__ = ["calibrations_at", "write_self_text"]

MIXED = (ENCYCLOPAEDIA, "documentation", "code", "chat")  # the other domains stay unseen


def write_self_text(model: str, directory: Path, tokens: int, seed: int, progress: Progress) -> Path:
    """A file of self text, at least `tokens` long, so that no row has to write it again.

    Args:
        model: that writes.
        directory: of the domains; texts that are there already are kept.
        tokens: that the largest calibration takes.
        seed: of the sampling.
        progress: told about every text.
    """
    file = directory / f"self-{seed}-{tokens}.jsonl"
    if not file.is_file():
        dense = load_dense(model)
        writer = SelfText(
            dense=dense, device=torch.device("cpu"), seed=seed, cache=directory, progress=progress
        )
        texts = writer.documents(tokens)
        temporary = file.with_name(file.name + ".tmp")
        temporary.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
        temporary.rename(file)
    return file


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
