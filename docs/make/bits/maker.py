"""`make bench-bits`: width, bits, and both, at equal bytes; docs/BITS.md.

    python -m docs.make.bits [--rows "width 0.75"] [--speed]

Rows are kept in docs/BITS.json as they finish; an interrupted run goes on where it stopped. A row that
fails is kept with its reason; the others go on, and the next run tries it again.
"""

import argparse
from itertools import product
from pathlib import Path
from typing import Any

from dotresize.bench.record.results import Results, read
from dotresize.bench.run import RESULTS_NAME
from dotresize.cli.printed.output import quiet_libraries
from dotresize.cli.printed.progress import ProgressBar
from dotresize.compress.record.progress import Progress
from dotresize.compress.weights.source import load_dense
from dotresize.errors import DotresizeError
from dotresize.export.checkpoint.dense import save_dense
from dotresize.export.contract.manifest import MANIFEST_NAME
from dotresize.export.for_gguf.to_gguf import record_directory
from dotresize.export.for_vllm.config import has_gpu, refuse_without_kernel
from dotresize.export.for_vllm.processor import processor_flags

from ..shared import kept_results
from ..shared.evaluation import (
    Fitted,
    Scored,
    add_fitted_options,
    add_options,
    dotresize,
    fitted,
    say_failures,
    write_page,
)
from ..shared.kept_dense import KEPT
from .page import engine_of, render
from .plot import bits_svg

__all__ = ["labels", "run"]

WIDTHS = (1.0, 0.9, 0.75, 0.6)
BITS = {  # label -> arguments of `export`; of another engine than vLLM they begin with its name
    "bfloat16": ("vllm",),
    "w8a8 nearest": ("vllm", "--quantize", "w8a8"),
    "w8a8 calibrated": ("vllm", "--quantize", "w8a8"),
    "w4a16 nearest": ("vllm", "--quantize", "w4a16"),
    "w4a16 calibrated": ("vllm", "--quantize", "w4a16"),
    "onnx fp32": ("onnx", "--dtype", "float32"),
    "onnx int8": ("onnx", "--dtype", "int8"),
    "onnx int4": ("onnx", "--dtype", "int4"),
    "gguf q8_0": ("gguf", "--dtype", "q8_0"),
    "gguf q4_k_m": ("gguf", "--dtype", "q4_k_m"),
    "gguf q4_k_m calibrated": ("gguf", "--dtype", "q4_k_m"),
}
_SPEED = ("--scenarios", "latency", "--batch-sizes", "1", "--rounds", "3")
_SPEED_IN = {"vllm": ("--engine", "vllm", "--dtype", "bfloat16"), "onnx": ("--engine", "onnx")}


def labels(only: tuple[str, ...] = ()) -> dict[str, tuple[float, str]]:
    """Label -> width and bits, the cheap rows first; those whose label holds one of `only`."""
    rows = {f"{name_of(width)}, {bits}": (width, bits) for width, bits in product(WIDTHS, BITS)}
    return {label: row for label, row in rows.items() if not only or any(part in label for part in only)}


def name_of(width: float) -> str:
    """What a row calls an MLP width."""
    return "original" if width == 1.0 else f"width {width:g}"


def run(
    setting: Fitted,
    file: Path,
    builds: Path,
    progress: Progress,
    *,
    only: tuple[str, ...] = (),
    speed: bool = False,
    kept: Path = KEPT,
) -> dict[str, Any]:
    """Measure what the results file does not hold yet.

    Args:
        setting: what all rows share; another setting starts the file afresh.
        file: JSON, rewritten after each row.
        builds: where the models of the rows go, and stay.
        progress: told about every window that is scored.
        only: see `labels`.
        speed: also measure decoding, each in its engine, of the rows that the file holds then.
        kept: where the original's answers are, or go.
    """
    results = kept_results.load(file, setting, "rows", "speed", "failed")
    builds.mkdir(parents=True, exist_ok=True)
    scored, maker = Scored(setting.model, setting, kept, progress), _Maker(setting, builds)
    for label, (width, bits) in labels(only).items():
        if label in results["rows"]:
            continue
        results["failed"].pop(label, None)
        try:
            results["rows"][label] = _row(maker.made(width, bits), width, bits, scored)
        except DotresizeError as error:
            results["failed"][label] = str(error)
        kept_results.store(file, results)
    if speed:
        for engine in _SPEED_IN:
            _add_speeds(results, builds, engine)
            kept_results.store(file, results)
    return results


def _row(path: Path, width: float, bits: str, scored: Scored) -> dict[str, Any]:
    files = [path] if path.is_file() else [*path.glob("*.safetensors"), *path.glob("model.onnx*")]
    return {
        "width": width,
        "bits": bits,
        "path": path.name,
        "bytes": sum(each.stat().st_size for each in files),
        "quality": scored.against_original(path),
    }


class _Maker:
    """Makes the directories of the rows; what is there stays."""

    def __init__(self, setting: Fitted, builds: Path) -> None:
        self._setting, self._builds = setting, builds
        self._broken: dict[float, DotresizeError] = {}  # by width, so that none is tried twice

    def made(self, width: float, bits: str) -> Path:
        """The directory of a row, or its GGUF file.

        Raises:
            DotresizeError: it cannot be made.
        """
        floats = self._floats(width)
        engine, *options = BITS[bits]
        name = f"{floats.name}-{bits.replace(' ', '-')}"
        target = self._builds / (f"{name}.gguf" if engine == "gguf" else name)
        record = record_directory(target) if engine == "gguf" else target
        if not (record / MANIFEST_NAME).is_file():
            rounding = self._setting.options if bits.endswith("calibrated") else []
            dotresize(["export", engine, str(floats), "-o", str(target), *options, *rounding])
        return target

    def _floats(self, width: float) -> Path:
        floats = self._builds / name_of(width).replace(" ", "-")
        if width in self._broken:
            raise self._broken[width]
        if not (floats / MANIFEST_NAME).is_file():
            try:
                self._make_floats(width, floats)
            except DotresizeError as error:
                self._broken[width] = error
                raise
        return floats

    def _make_floats(self, width: float, floats: Path) -> None:
        if width == 1.0:
            save_dense(load_dense(self._setting.model), floats)
            return
        narrow = ["compress", self._setting.model, "-o", str(floats), "--intermediate-size", str(width)]
        dotresize([*narrow, *self._setting.options, "--evaluation", "none"])


def _add_speeds(results: dict[str, Any], builds: Path, engine: str) -> None:
    """Tokens per second of one sequence, of an engine's rows; it compares, so of two or more.

    Rounding to the nearest is not timed where the calibrated form of the same weights is: one kernel, one
    shape. The report stays among the builds, and an interrupted measurement goes on from it. Where some
    measurements fail, what the others found is kept beside the reason.
    """
    label = f"speed in {engine}"
    rows = {name: row for name, row in results["rows"].items() if engine_of(row["bits"]) == engine}
    twins = {name for name in rows if name.replace("nearest", "calibrated") in rows.keys() - {name}}
    timed = {
        name: row for name, row in rows.items() if name not in twins and not _without_kernel(results, row)
    }
    places = {name: builds / row["path"] for name, row in timed.items()}
    results["failed"].pop(label, None)
    if len(places) < 2:
        return
    report = builds / f"speed-{engine}"
    models = [str(path) for path in places.values()]
    try:
        dotresize(
            ["bench", *models, "-o", str(report), *_SPEED, *_SPEED_IN[engine], _going_on(report, places)]
        )
    except DotresizeError as error:
        results["failed"][label] = str(error)
    if (report / RESULTS_NAME).is_file():
        results["speed"] |= _speeds(read(report / RESULTS_NAME), places)


def _going_on(report: Path, places: dict[str, Path]) -> str:
    """The option of `bench`: go on where it was interrupted, unless it measured other models."""
    file = report / RESULTS_NAME
    measured = {Path(model.path) for model in read(file).models} if file.is_file() else set()
    return "--resume" if measured == {path.resolve() for path in places.values()} else "--force"


def _without_kernel(results: dict[str, Any], row: dict[str, Any]) -> bool:
    """Whether vLLM cannot multiply such weights here, which is noted once for each kind of weights."""
    precision, label = row["bits"].split()[0], f"speed of {row['bits'].split()[0]} in vllm"
    results["failed"].pop(label, None)
    try:
        refuse_without_kernel(precision, gpu=has_gpu(), flags=processor_flags())
    except DotresizeError as error:
        results["failed"][label] = str(error)
        return True
    return False


def _speeds(found: Results, places: dict[str, Path]) -> dict[str, list[float]]:
    """Label -> tokens per second of each run, of all rounds."""
    names = {model.path: model.name for model in found.models}
    speeds = {
        label: [
            1.0 / value
            for each in found.measurements
            if each.model == names[str(path.resolve())] and each.status == "ok"
            for value in each.samples.get("tpot_seconds", [])
        ]
        for label, path in places.items()
    }
    return {label: values for label, values in speeds.items() if values}


def main() -> None:
    """Parse, run, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    add_fitted_options(parser)
    parser.add_argument("--rows", action="append", default=[], help="only rows whose label holds this")
    parser.add_argument("--speed", action="store_true", help="also decode speed, in each engine")
    add_options(parser, builds="build/bits", page="BITS.md")
    arguments = parser.parse_args()
    quiet_libraries()
    with ProgressBar() as progress:
        results = run(
            fitted(arguments, progress),
            arguments.o.with_suffix(".json"),
            arguments.builds,
            progress,
            only=tuple(arguments.rows),
            speed=arguments.speed,
        )
    say_failures(results["failed"])
    write_page(arguments.o, render(results, f"{arguments.o.stem}.svg"), bits_svg(results))
