"""Two models by name, texts and options -> a recovered checkpoint: check, estimate, train, write."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from ..compress.progress import Progress
from ..compress.resume import WorkDirectory, work_path
from ..compress.source import DenseModel, open_model
from ..errors import ManifestError
from ..export import manifest
from ..export.manifest import Manifest
from ..export.staging import check_apart, check_free, check_writable
from .batches import Texts, read_texts
from .config import RecoverConfig
from .run import Estimate, estimate, prepare, recover
from .texts import read_sources
from .write import save_recovered

__all__ = ["Recovered", "run"]


@dataclass(frozen=True, kw_only=True)
class Recovered:
    """What `run` did."""

    estimate: Estimate
    record: Manifest | None  # None after a dry run, and in all processes but the first


def run(
    narrow: str,
    teacher: str,
    output: Path,
    config: RecoverConfig,
    *,
    progress: Progress,
    say: Callable[[str], None],
    dry_run: bool = False,
    force: bool = False,
) -> Recovered:
    """Recover a narrowed checkpoint; the same call resumes after an interrupt.

    Args:
        narrow: the start, as `load_dense` takes it.
        teacher: the original, likewise.
        output: directory to write.
        config: what to do.
        progress: told about every step.
        say: gets a line for each thing worth reading.
        dry_run: estimate only.
        force: replace an earlier output.

    Raises:
        InputError: a model, a text or an option cannot be used.
        ConvergenceError: the loss is not finite.
        OutputError: the output is in the way or cannot be written.
    """
    check_free(output, force=force)
    check_writable(output)
    opened, original = open_model(narrow), open_model(teacher)
    check_apart(output, [opened.path, original.path])
    with WorkDirectory(work_path(output) if _is_first() else None) as work:
        start, taught = opened.load(), original.load()
        parent = _parent(Path(narrow), say)
        texts = _texts(config, start)
        identity = _identity(start, taught, config, texts.train)
        work.begin(identity)
        state = _state_directory(work_path(output), identity)
        dtype = start.model.dtype
        setup = prepare(start, taught, texts, config, state, progress)
        found = estimate(setup)
        say(
            f"{found.steps} steps, {found.tokens:,} tokens, about {found.seconds / 60:.1f} minutes, "
            f"{found.peak_memory_bytes / 1e9:.1f} GB"
        )
        if dry_run:
            if _is_first():
                shutil.rmtree(state)
            return Recovered(estimate=found, record=None)
        outcome = recover(setup, _planned(work, found.steps), progress=progress, say=say)
        if outcome.stopped_by == "SIGTERM":
            say("stopped; the same command goes on from here")
            return Recovered(estimate=found, record=None)
        record = None
        if _is_first():
            record = save_recovered(
                outcome, start, parent, taught.source, texts.record, output, dtype=dtype, force=force
            )
            shutil.rmtree(state)
            work.discard()
    return Recovered(estimate=found, record=record)


def _is_first() -> bool:
    """Whether this process writes: the only one, or the first of those that torchrun started."""
    return os.environ.get("RANK", "0") == "0"


def _texts(config: RecoverConfig, start: DenseModel) -> Texts:
    sources = read_sources(config, start.tokenizer)
    needed = None if config.tokens is None else -(-config.tokens // config.window_tokens)
    return read_texts(sources, config, needed=needed)


def _state_directory(work: Path, identity: str) -> Path:
    """Where training keeps its states; those of other settings are removed."""
    state = work / f"run-{identity[:16]}"
    state.mkdir(parents=True, exist_ok=True)
    if _is_first():
        for other in work.glob("run-*"):
            if other != state:
                shutil.rmtree(other)
    return state


def _planned(work: WorkDirectory, steps: int) -> int:
    """The number of steps of the first run, in all processes.

    A resumed run keeps it, whatever the machine's speed is now.
    """
    kept = work.load("steps")
    if kept is not None:
        steps = int(kept[1])
    else:
        work.store("steps", {"steps": torch.tensor([steps])}, steps)
    if torch.distributed.is_initialized():
        shared = [steps]
        torch.distributed.broadcast_object_list(shared, src=0)
        steps = shared[0]
    return steps


def _parent(narrow: Path, say: Callable[[str], None]) -> Manifest | None:
    try:
        return manifest.read(narrow)
    except ManifestError as error:
        say(f"no lineage: {error}")
        return None


def _identity(start: DenseModel, teacher: DenseModel, config: RecoverConfig, windows: torch.Tensor) -> str:
    parts = [start.source.sha256, teacher.source.sha256, config.to_dict()]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode())
    digest.update(windows.numpy().tobytes())
    return digest.hexdigest()
