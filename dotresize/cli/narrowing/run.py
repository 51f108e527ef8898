"""The body of `dotresize compress`: check, load, narrow, write, measure, show."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..asked.push import pushed
from ..asked.recipes import RECIPE_NAME
from ..printed.output import emit, note_console, quiet_libraries
from .check import CompressRun, check_run, stream_bytes_of
from .measure import measure, measuring_command, say_if_unmeasured

if TYPE_CHECKING:
    from ...compress.output.resume import WorkDirectory
    from ...compress.record.report import Cost, Report
    from ...compress.streams.ranks import Ranks
    from ...compress.text.calibration import Windows
    from ...compress.weights.dense import Dense
    from ...compress.weights.source import OpenModel
    from ..printed.progress import ProgressBar

__all__ = ["run_compress"]


def run_compress(run: CompressRun) -> None:
    """Check, load, narrow, write, measure, show."""
    quiet_libraries()
    from ...compress.output.resume import WorkDirectory, work_path
    from ...compress.run import choose_device
    from ...compress.streams.ranks import joined
    from ...export.disk.staging import check_free
    from ..printed.progress import ProgressBar
    from ..printed.tables import compression_tables

    output, asked = run.output, _asked(run)
    with joined(choose_device(run.config.device)) as ranks:
        if not ranks.is_first:
            _assist(run, ranks)
            return
        run = replace(run, force=_settle_landing(output, asked) or run.force)
        opened, texts = check_run(run)
        with ProgressBar() as progress, WorkDirectory(work_path(output)) as work:
            check_free(output, force=run.force)  # a run that ended just now may have written it
            ranks.wait()
            report, cost, quality = _narrow(run, asked, opened, texts, progress, work, ranks)
    data = {
        "hub": pushed(output, run.hub),
        "output": str(output),
        "report": report.to_dict(),
        "quality": quality,
        "seconds": cost.seconds,
        "peak_memory_bytes": cost.peak_memory_bytes,
        "peak_device_memory_bytes": cost.peak_device_memory_bytes,
        "device": cost.device,
    }
    emit(data, *compression_tables(report, cost, quality, output), as_json=run.as_json)


def _asked(run: CompressRun) -> list[Any]:
    """What the note of a finished output says that it was made by."""
    return [
        run.model,
        run.config.to_dict(),
        list(run.evaluation),
        run.evaluation_windows,
        run.force,
        run.revision,
    ]


def _narrow(
    run: CompressRun,
    asked: list[Any],
    opened: "OpenModel",
    texts: "list[Windows]",
    progress: "ProgressBar",
    work: "WorkDirectory",
    ranks: "Ranks",
) -> "tuple[Report, Cost, dict[str, Any] | None]":
    """Load, narrow and write; then measure what is on disk."""
    from ...errors import DotresizeError
    from ...export.checkpoint.stream import compress_to

    note_console().print(f"loading {run.model}", markup=False)
    dense = opened.stream()
    stream_bytes = stream_bytes_of(run, ranks.count_here)
    written = compress_to(
        dense,
        run.config,
        run.output,
        work=work,
        progress=progress,
        force=run.force,
        stream_bytes=stream_bytes,
        on_complete=lambda file: _complete(file, run, opened.path, work, asked),
        ranks=ranks,
    )
    assert written is not None  # this is the first process
    report, cost = written
    try:
        quality = _measured(run, dense, report, texts, progress, stream_bytes)
    except DotresizeError:
        work.discard()
        raise
    work.discard()
    return report, cost, quality


def _assist(run: CompressRun, ranks: "Ranks") -> None:
    """What a process other than the first does: its share of the windows. It writes nothing."""
    from ...compress.output.resume import WorkDirectory
    from ...compress.weights.source import open_model
    from ...export.checkpoint.stream import compress_to

    ranks.wait()  # for the first one's checks, so that a mistake is reported once
    opened = open_model(run.model, trust_remote_code=run.config.trust_remote_code, revision=run.revision)
    compress_to(
        opened.stream(look=ranks.number_here == 0),  # one on every machine
        run.config,
        run.output,
        work=WorkDirectory(None),
        stream_bytes=stream_bytes_of(run, ranks.count_here),
        ranks=ranks,
    )


def _complete(file: Path, run: CompressRun, source: Path, work: "WorkDirectory", asked: list[Any]) -> None:
    """Add the recipe and the licences to what is about to come into place, and note that it will."""
    from ...compress.output.landing import note_landing
    from ...export.disk.licences import copy_licences

    copy_licences(source, file.parent)
    if run.recipe:
        (file.parent / RECIPE_NAME).write_text(run.recipe, encoding="utf-8")
    note_landing(work.path, file, asked)


def _measured(
    run: CompressRun,
    dense: "Dense",
    report: "Report",
    texts: "list[Windows]",
    progress: "ProgressBar",
    resident_bytes: int,
) -> dict[str, Any] | None:
    if not texts:
        return None
    again = measuring_command(run.model, run.output, run.config, run.evaluation, texts)
    with say_if_unmeasured(run.output, again):
        return measure(run.output, run.config, dense, report.calibration, texts, progress, resident_bytes)


def _settle_landing(output: Path, command: Any) -> bool:
    """Whether this very command was killed between writing `output` and measuring it, so that it goes on.

    Where it was killed after that, all is done, and its work directory goes.
    """
    from ...compress.output.landing import is_finished, is_unmeasured
    from ...compress.output.resume import WorkDirectory, work_path
    from ...export.contract.manifest import MANIFEST_NAME
    from ...export.disk.outputs import clean_up

    clean_up(output)
    work, file = work_path(output), output / MANIFEST_NAME
    if is_finished(work, file, command):
        with WorkDirectory(work) as finished:
            finished.discard()
    elif work.is_dir() and not work.is_symlink() and not any(work.iterdir()):
        work.rmdir()  # killed between the note and the directory
    return is_unmeasured(work, file, command)
