"""Memory of `dotresize compress` against the depth and size of the model: `python -m docs.make.scale`.

    python -m docs.make.scale                    all parts, docs/SCALE.md (an hour on two cores)
    python -m docs.make.scale --depths 4 16 64 --no-large     the first part alone, some depths

Each run is a process of its own; what it had resident at most is what the kernel says when it has ended.
"""

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil

from .scale_model import Shape, write_llama

ROOT = Path(__file__).parents[2]
PAGE, FOLDER = ROOT / "docs" / "SCALE.md", ROOT / "build" / "scale"
DEPTHS = (4, 8, 16, 32, 64)
LIMIT_BYTES = 4 * 2**30
NARROW = Shape(hidden=512, mlp=1536, layers=0, heads=8, groups=4, head_dim=64, vocabulary=2048)
LARGE = Shape(hidden=3072, mlp=8192, layers=28, heads=24, groups=8, head_dim=128, vocabulary=32000)
CALIBRATION = (
    "--calibration",
    "builtin:documentation",
    "--calibration-windows",
    "4",
    "--window-tokens",
    "128",
)
WIDTHS = ("--width", "0.75", "--mlp-width", "0.75")


@dataclass(frozen=True, kw_only=True)
class Run:
    """One compression."""

    parameters: int
    layers: int
    seconds: float
    peak_bytes: int


def main() -> None:
    """Measure, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depths", type=int, nargs="*", default=list(DEPTHS))
    parser.add_argument("--no-large", action="store_true")
    parser.add_argument("--large-compensate", default="readout", choices=["none", "readout", "full"])
    arguments = parser.parse_args()
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    runs = [compress(replace_layers(NARROW, depth)) for depth in arguments.depths]
    lines = [*_head(), *_depth_lines(runs)]
    if not arguments.no_large:
        name, limit = hard_limit(LIMIT_BYTES)
        fits = ("--compensate", arguments.large_compensate)
        lines += _large_lines(compress(LARGE, fits, limit=limit), name, arguments.large_compensate)
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    shutil.rmtree(FOLDER)


def replace_layers(shape: Shape, layers: int) -> Shape:
    """The same widths, another depth."""
    return Shape(**(vars(shape) | {"layers": layers}))


def compress(shape: Shape, more: tuple[str, ...] = (), *, limit: Callable[[], None] = lambda: None) -> Run:
    """Write a model, narrow it in a process of its own, remove both.

    Raises:
        SystemExit: it failed.
    """
    model, output = FOLDER / "model", FOLDER / "out"
    parameters = write_llama(model, shape)
    command = [sys.executable, "-m", "dotresize", "compress", str(model), "-o", str(output), *WIDTHS]
    command += [
        *CALIBRATION,
        "--evaluation",
        "none",
        "--stream-memory",
        "0",
        "--device",
        "cpu",
        "--json",
        *more,
    ]
    started = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, preexec_fn=limit)  # noqa: PLW1509
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    if status:
        raise SystemExit(f"{shape.layers} layers: ended with {status}")
    assert json.loads(said.splitlines()[-1])["output"] == str(output)
    shutil.rmtree(model)
    shutil.rmtree(output)
    return Run(parameters=parameters, layers=shape.layers, seconds=seconds, peak_bytes=used.ru_maxrss * 1024)


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


def slope(runs: list[Run]) -> float:
    """Bytes for each further layer, by least squares."""
    xs, ys = [run.layers for run in runs], [run.peak_bytes for run in runs]
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((x - mean_x) ** 2 for x in xs)
    return sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / spread


def _head() -> Iterator[str]:
    gigabytes = psutil.virtual_memory().total / 1e9
    yield "# Size"
    yield ""
    yield "Written by `make bench-scale`. Weights are random; streams go to the disk (`--stream-memory 0`)."
    yield f"Machine: {platform.machine()}, {len(os.sched_getaffinity(0))} cores, {gigabytes:.0f} GB."


def _depth_lines(runs: list[Run]) -> Iterator[str]:
    yield from ("", "## Peak resident memory against depth", "")
    layer = NARROW.layer_bytes
    yield (
        f"Llama, hidden {NARROW.hidden}, MLP {NARROW.mlp}, narrowed to 0.75 of both, full compensation; "
        f"a layer takes {layer / 1e6:.2f} MB as stored (bfloat16), {2 * layer / 1e6:.2f} MB in float32."
    )
    yield from ("", "| layers | weights, MB | peak resident, MB | seconds |", "|---|---|---|---|")
    for run in runs:
        sizes = f"{2 * run.parameters / 1e6:,.0f} | {run.peak_bytes / 1e6:,.1f}"
        yield f"| {run.layers} | {sizes} | {run.seconds:,.0f} |"
    if len(runs) > 1:
        grows = slope(runs)
        yield ""
        yield f"Each further layer adds {grows / 1e3:,.1f} kB, {100 * grows / layer:.2f} % of a stored layer."


def _large_lines(run: Run, mechanism: str, compensate: str) -> Iterator[str]:
    yield from ("", "## A model larger than its memory", "")
    yield (
        f"{run.parameters / 1e9:.2f} B parameters, {2 * run.parameters / 1e9:.2f} GB of weights in "
        f"{run.layers} layers, narrowed to 0.75 of both widths (compensate {compensate}) under a limit of "
        f"{LIMIT_BYTES / 2**30:.0f} GiB by {mechanism}: {run.seconds:,.0f} s, at most "
        f"{run.peak_bytes / 1e9:.2f} GB resident."
    )


if __name__ == "__main__":
    main()
