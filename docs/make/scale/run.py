"""One compression in processes of its own, with what it took; its model and output are removed afterwards."""

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .model import Shape, write_llama

__all__ = ["FOLDER", "ROOT", "Run", "compress", "hard_limit"]

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "build" / "scale"
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node")


@dataclass(frozen=True, kw_only=True)
class Run:
    """One compression."""

    parameters: int
    seconds: float  # of the whole command
    steps: dict[str, float]  # seconds of its steps
    peak_bytes: int  # resident, of its largest process
    resumed: bool  # an earlier attempt had been interrupted, whose time is not counted


def compress(
    name: str,
    shape: Shape,
    options: Sequence[str],
    *,
    ranks: int = 1,
    limit: Callable[[], None] = lambda: None,
    look: Callable[[Path], None] = lambda output: None,
) -> Run:
    """Write a model, narrow it, look at the result, remove both. An interrupted call is resumed by the same.

    Args:
        name: of its folder.
        shape: of the model.
        options: of `dotresize compress`.
        ranks: processes that do it together.
        limit: what the process does before it starts.
        look: is given the output.

    Raises:
        SystemExit: it failed.
    """
    folder = FOLDER / name
    model, output = folder / "model", folder / "out"
    written = folder / "parameters"
    if not written.is_file():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        written.write_text(str(write_llama(model, shape)), encoding="utf-8")
    resumed = (folder / ".out.dotresize-work").is_dir()
    launcher = () if ranks == 1 else (*TORCHRUN, str(ranks))
    command = [sys.executable, *launcher, "-m", "dotresize", "compress", str(model), "-o", str(output)]
    command += [*options, "--evaluation", "none", "--device", "cpu", "--force", "--json"]
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, preexec_fn=limit)  # noqa: PLW1509
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    if status:
        raise SystemExit(f"{name}: ended with {status}")
    data = json.loads(said.splitlines()[-1])
    look(output)
    run = Run(
        parameters=int(written.read_text(encoding="utf-8")),
        seconds=seconds,
        steps=data["seconds"],
        peak_bytes=used.ru_maxrss * 1024 if ranks == 1 else data["peak_memory_bytes"],
        resumed=resumed,
    )
    shutil.rmtree(folder)
    return run


def hard_limit(limit_bytes: int) -> tuple[str, Callable[[], None]]:
    """How a child is held below so much memory, and what it has to do for that before it starts."""
    groups = Path("/sys/fs/cgroup")
    for root, name in ((groups / "memory", "memory.limit_in_bytes"), (groups, "memory.max")):
        group = root / f"dotresize-scale-{os.getpid()}"
        with suppress(OSError):
            group.mkdir()
            (group / name).write_text(str(limit_bytes))
            return f"a control group ({name})", partial(_join, group)
    return "RLIMIT_DATA", partial(resource.setrlimit, resource.RLIMIT_DATA, (limit_bytes, limit_bytes))


def _join(group: Path) -> None:
    (group / "cgroup.procs").write_text(str(os.getpid()))
