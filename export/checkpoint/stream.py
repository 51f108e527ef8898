"""A dense model -> a written checkpoint, part by part: the narrow model is never in memory as a whole."""

import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ...compress.families.hollow import hollow_model
from ...compress.output.resume import WorkDirectory, work_path
from ...compress.output.shard_layout import INDEX_NAME, MAX_SHARD_BYTES, lay_out
from ...compress.output.shards import ShardWriter
from ...compress.record.config import CompressConfig
from ...compress.record.progress import Progress, Stopwatch
from ...compress.record.report import Cost, Report
from ...compress.run import Narrowed, assembled, narrow_into
from ...compress.streams.ranks import Ranks
from ...compress.streams.sink import MemorySink, Sink
from ...compress.streams.stream import StreamRoom
from ...compress.weights.dense import Dense
from ..contract import card, manifest, reference
from ..contract.manifest import FileRecord, Manifest, file_record
from ..disk.staging import staged_directory
from .paged import open_paged
from .write import complete_config, save, write_config

if TYPE_CHECKING:
    from ...compress.families.family import Family

__all__ = ["Written", "compress_to"]


class Written(NamedTuple):
    """A checkpoint on the disk."""

    report: Report
    cost: Cost


def compress_to(
    dense: Dense,
    config: CompressConfig,
    output: Path,
    *,
    work: WorkDirectory,
    progress: Progress | None = None,
    force: bool = False,
    max_shard_bytes: int = MAX_SHARD_BYTES,
    stream_bytes: int,
    on_complete: Callable[[Path], None] = lambda _: None,
    ranks: Ranks | None = None,
) -> Written | None:
    """Narrow a model and write it. The shards grow in the work directory and are linked into the output.

    Args:
        dense: the model; it is only read.
        config: what to do.
        output: where to write; appears only when everything has been written.
        work: where the shards grow; it is left as it is: call its `discard` when the result is safe.
        progress: told about every step.
        force: replace an earlier output.
        max_shard_bytes: of one file's tensors, unless one is larger.
        stream_bytes: of memory for one residual stream, which goes to a file beside the shards when it is
            larger, and for the layers that are used again while the reference is made.
        on_complete: called with the manifest's path when all is written, before it comes into place.
        ranks: the processes that do it together, each with the same arguments, but only the first with a work
            directory that has a path.

    Returns:
        What was written; None in a process other than the first.

    Raises:
        InputError: the text, a width or an option cannot be used.
        ConvergenceError: a transport plan did not converge.
        OutputError: the output exists, cannot be written, or the disk is full.
        ModelError: the model does not answer the reference prompts.
        EngineError: another process has ended.
    """
    grows = narrow_family_of(
        dense, config
    ).stored_as_named  # others have tensors that are stacked in memory only
    writers: list[ShardWriter] = []
    memory = MemorySink(work)

    def open_sink(narrow_config: Any, family: "Family", dtype: Any) -> Sink:
        if not grows:
            return memory
        hollow = hollow_model(narrow_config)
        tied = {f"{family.head}.weight"} if narrow_config.tie_word_embeddings else set()
        writers.append(ShardWriter(work, lay_out(hollow, dtype, tied, max_shard_bytes=max_shard_bytes)))
        return writers[-1]

    ranks = ranks or Ranks()
    found = narrow_into(
        open_sink,
        dense,
        config,
        progress=progress,
        work=work,
        watch=Stopwatch(),
        room=StreamRoom(directory=work.path or _elsewhere(output), memory_bytes=stream_bytes),
        ranks=ranks,
    )
    if not ranks.is_first:
        return None
    if not grows:
        result = assembled(dense, found, memory.state)
        save(result, output, force=force, max_shard_bytes=max_shard_bytes, on_complete=on_complete)
        return Written(result.report, result.cost)
    with found.watch.measure("write"), staged_directory(output, force=force) as temporary:
        record = _write(found, writers[0], dense, temporary, stream_bytes)
        manifest.write(record, temporary)
        on_complete(temporary / manifest.MANIFEST_NAME)
    return Written(found.report, found.cost)


def _elsewhere(output: Path) -> Path:
    """Where streams go without a work directory: into the first process's, or a temporary one."""
    shared = work_path(output)
    return shared if shared.is_dir() else Path(tempfile.gettempdir())


def narrow_family_of(dense: Dense, config: CompressConfig) -> "Family":
    """The row that the result is written as.

    Raises:
        InputError: a width or an option cannot be used.
    """
    from ...compress.widths.plan import make_plan

    return make_plan(dense.config, dense.family, config).narrow_family


def _write(
    found: Narrowed, writer: ShardWriter, dense: Dense, directory: Path, resident_bytes: int
) -> Manifest:
    """Everything of a checkpoint but its manifest, which is returned."""
    files = {}
    for path in writer.files:
        link(path, directory / path.name)
        size_bytes = (directory / path.name).stat().st_size
        files[path.name] = FileRecord(bytes=size_bytes, sha256=writer.hashes[path.name])
    if writer.layout.index is not None:
        (directory / INDEX_NAME).write_text(writer.layout.index, encoding="utf-8")
        files[INDEX_NAME] = file_record(directory / INDEX_NAME)
    write_config(hollow_model(found.plan.narrow_config), found.dtype, dense.generation_config, directory)
    complete_config(directory / "config.json", head_dim=found.report.narrow.head_dim)
    dense.tokenizer.save_pretrained(directory)
    model = open_paged(directory, resident_bytes=resident_bytes)
    kept = reference.save(reference.make_reference(model, dense.tokenizer), directory)
    (directory / card.NAME).write_text(card.render(found.report, None), encoding="utf-8")
    return Manifest(
        format="huggingface",
        precision=str(found.dtype).removeprefix("torch."),
        report=found.report,
        files=files,
        reference=kept,
    )


def link(source: Path, target: Path) -> None:
    """Give a file a second name; where the file system has no links, move it.

    A run that is killed after a move, before its output is in place, computes the file's parts again.
    """
    with suppress(OSError):
        os.link(source, target)
        return
    shutil.move(source, target)
