"""The recovered student -> a stock checkpoint of the same shape, with where it came from."""

import shutil
from pathlib import Path

import torch

from ..compress.families.shape import head_dim_of
from ..compress.record.report import Report, Source
from ..compress.weights.source import DenseModel
from ..export.checkpoint.write import weight_records, write_model
from ..export.contract import card, manifest
from ..export.contract.manifest import Manifest
from ..export.contract.recovery import Recovery, RecoveryText
from ..export.disk.licences import copy_licences
from ..export.disk.staging import staged_directory
from .models.trainable import ADAPTER
from .run import Outcome
from .training.curve_plot import CURVE_SVG, curve_svg

__all__ = ["save_recovered"]


def save_recovered(
    outcome: Outcome,
    narrow: DenseModel,
    parent: Manifest | None,
    teacher: Source,
    texts: tuple[RecoveryText, ...],
    directory: Path,
    *,
    dtype: torch.dtype,
    force: bool = False,
    licences: Path | None = None,
) -> Manifest:
    """Write the best state in the dtype that the start was stored in, with a reference of its own.

    Args:
        outcome: of `run.recover`.
        narrow: the start.
        parent: the start's manifest, or None when dotresize did not write it.
        teacher: the original.
        texts: what was trained on.
        directory: where to write.
        dtype: of the stored weights.
        force: replace an earlier output.
        licences: the start's directory, whose licence files are carried over.

    Raises:
        OutputError: the output exists, cannot be written, or the disk is full.
        ModelError: the model does not answer the reference prompts.
    """
    recovery = _recorded(outcome, narrow, parent, teacher, texts)
    model = outcome.model.to("cpu", dtype)  # type: ignore[arg-type]
    report = None if parent is None else parent.report
    with staged_directory(directory, force=force) as temporary:
        reference = write_model(
            model,
            narrow.tokenizer,
            narrow.generation_config,
            temporary,
            head_dim=head_dim_of(model.config),
        )
        _write_card(recovery, report, temporary)
        if licences is not None:
            copy_licences(licences, temporary)
        if outcome.adapter is not None:
            shutil.copytree(outcome.adapter, temporary / ADAPTER)
        record = Manifest(
            format="huggingface",
            precision=str(dtype).removeprefix("torch."),
            report=report,
            files=weight_records(temporary),
            reference=reference,
            recovery=recovery,
        )
        manifest.write(record, temporary)
    return record


def _recorded(
    outcome: Outcome,
    narrow: DenseModel,
    parent: Manifest | None,
    teacher: Source,
    texts: tuple[RecoveryText, ...],
) -> Recovery:
    return Recovery(
        parent_sha256=narrow.source.sha256,
        parent_manifest_sha256=None if parent is None else parent.sha256,
        teacher=teacher.name,
        teacher_sha256=teacher.sha256,
        config=outcome.config,
        texts=texts,
        best_step=outcome.curve.best_step,
        stopped_by=outcome.stopped_by,
        curve=tuple(outcome.curve.points),
    )


def _write_card(recovery: Recovery, report: Report | None, directory: Path) -> None:
    """The course of the training as a picture, and the model's card with it."""
    picture = curve_svg(recovery)
    if picture is not None:
        (directory / CURVE_SVG).write_text(picture, encoding="utf-8")
    if report is not None:
        text = card.render(report, None, recovery)
        text += f"\n![course]({CURVE_SVG})\n" if picture is not None else ""
        (directory / card.NAME).write_text(text, encoding="utf-8")
