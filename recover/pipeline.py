"""Two models by name, texts and options -> a recovered checkpoint: check, estimate, train, write."""

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from ..compress.output.resume import WorkDirectory, work_path
from ..compress.record.progress import Progress
from ..compress.run import choose_device
from ..compress.streams.launcher import runs_first
from ..compress.text.mixture import SELF
from ..compress.text.self_text import CACHE_FOLDER, SelfText
from ..compress.weights.source import DenseModel, OpenModel, open_model
from ..errors import ManifestError, OptionError
from ..export.contract import manifest
from ..export.contract.manifest import Manifest
from ..export.disk.staging import check_apart, check_free, check_writable
from ..locks import in_turn
from .ask.batches import Texts, read_texts
from .ask.config import RecoverConfig
from .ask.texts import check_texts, parts_of, read_sources
from .estimate import Estimate, estimate
from .models.load import load
from .models.shards import from_first
from .models.teacher import check_same_vocabulary
from .run import recover
from .training.board import Board
from .training.on_policy import check_trl
from .training.setup import prepare
from .training.train import teacher_dtype
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
    tensorboard: Path | None = None,
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
        tensorboard: a directory for TensorBoard's events, or None.

    Raises:
        InputError: a model, a text or an option cannot be used.
        ConvergenceError: the loss is not finite.
        OutputError: the output is in the way or cannot be written.
    """
    check_free(output, force=force)
    if config.on_policy:
        check_trl()
    board = Board(tensorboard if runs_first() and not dry_run else None)
    check_writable(output)
    opened, original = _opened(narrow, teacher, output, config)
    held = check_texts(config, opened.tokenizer)
    parent = _parent(Path(narrow), say)
    with WorkDirectory(work_path(output) if runs_first() and not dry_run else None) as work:
        start, taught = load(opened, config, torch.float32), load(original, config, teacher_dtype(config))
        dtype = start.model.dtype
        setup = prepare(start, taught, config, fresh=lambda: opened.load().model)
        setup.base = str(Path(narrow).resolve()) if Path(narrow).is_dir() else narrow
        found = estimate(setup, texts=len(parts_of(config)))
        say(_told(found))
        if dry_run:
            return Recovered(estimate=found, record=None)
        identity = _identity(start, taught, config)
        work.begin(identity)
        steps = _planned(work, found.steps)
        texts = _texts(config, start, taught, held, steps, output, progress)
        state = _state_directory(work_path(output), identity, texts.train)
        outcome = recover(setup, texts, state, steps, progress=progress, say=say, board=board)
        if outcome.stopped_by == "SIGTERM":
            say("stopped; the same command goes on from here")
            return Recovered(estimate=found, record=None)
        record = None
        if runs_first():
            record = save_recovered(
                outcome,
                start,
                parent,
                taught.source,
                texts.record,
                output,
                dtype=dtype,
                force=force,
                licences=opened.path,
            )
            shutil.rmtree(state)
            work.discard()
    return Recovered(estimate=found, record=record)


def _opened(narrow: str, teacher: str, output: Path, config: RecoverConfig) -> tuple[OpenModel, OpenModel]:
    """Both models without their weights; what cannot go together has been refused."""
    opened, original = open_model(narrow), open_model(teacher)
    check_apart(output, [opened.path, original.path])
    check_same_vocabulary(original.tokenizer, opened.tokenizer, (teacher, narrow))
    if config.shard and any(part.spec == SELF for part in parts_of(config)):
        raise OptionError(
            "self text needs the whole teacher on one device, and --shard divides it; name another text, or "
            "leave --shard out"
        )
    return opened, original


def _told(found: Estimate) -> str:
    time = "" if found.seconds is None else f"about {found.seconds / 60:.1f} minutes, "
    return f"{found.steps} steps, {found.tokens:,} tokens, {time}{found.memory.total / 1e9:.1f} GB of memory"


def _texts(
    config: RecoverConfig,
    start: DenseModel,
    taught: DenseModel,
    held: dict[str, int],
    steps: int,
    output: Path,
    progress: Progress,
) -> Texts:
    """The windows for so many steps; what the teacher writes is kept beside the output for the next time."""
    cache = output.absolute().parent / CACHE_FOLDER
    writer = SelfText(
        dense=taught, device=choose_device(config.device), seed=config.seed, cache=cache, progress=progress
    )

    def write(tokens: int) -> list[str]:
        with in_turn(cache / "lock"):  # of several processes the first writes, the others read
            return writer.documents(tokens)

    needed = steps * config.batch_windows
    sources = read_sources(config, start.tokenizer, held, needed=needed, write=write)
    return read_texts(sources, config, needed=needed)


def _state_directory(work: Path, identity: str, windows: torch.Tensor) -> Path:
    """Where training keeps its states; those of other settings or texts are removed."""
    digest = hashlib.sha256(identity.encode())
    digest.update(windows.numpy().tobytes())
    state = work / f"run-{digest.hexdigest()[:16]}"
    state.mkdir(parents=True, exist_ok=True)
    if runs_first():
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
        steps = from_first(steps)
    return steps


def _parent(narrow: Path, say: Callable[[str], None]) -> Manifest | None:
    try:
        return manifest.read(narrow)
    except ManifestError as error:
        say(f"no lineage: {error}")
        return None


def _identity(start: DenseModel, teacher: DenseModel, config: RecoverConfig) -> str:
    """Of everything that decides the result but the windows, whose number it decides."""
    parts = [start.source.sha256, teacher.source.sha256, config.to_dict()]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
