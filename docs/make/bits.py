"""`make bench-bits`: width, bits, and both, at equal bytes; docs/BITS.md.

    python -m docs.make.bits [--rows "width 0.75"] [--speed]

Rows are kept in docs/BITS.json as they finish; an interrupted run goes on where it stopped.
"""

import argparse
import subprocess
import sys
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

from dotresize.bench.quality.text_quality import measure_texts, windows_of_texts
from dotresize.bench.record.results import read
from dotresize.cli.output import quiet_libraries
from dotresize.cli.progress import ProgressBar
from dotresize.compress.progress import Progress
from dotresize.compress.source import DEMO_MODEL, load_dense, open_model
from dotresize.export.dense import save_dense
from dotresize.export.manifest import MANIFEST_NAME
from dotresize.export.quantised_source import open_quantised

from . import kept_results
from .bits_page import render
from .bits_plot import bits_svg
from .domain_suite import evaluation_files, left_out, write_domains
from .domains import WIKITEXT

__all__ = ["Setting", "labels", "run"]

PAGES = Path(__file__).resolve().parents[1]
WIDTHS = (1.0, 0.9, 0.75, 0.6)
BITS = {  # label -> options of `export vllm`
    "bfloat16": (),
    "w8a8 nearest": ("--quantize", "w8a8"),
    "w8a8 calibrated": ("--quantize", "w8a8"),
    "w4a16 nearest": ("--quantize", "w4a16"),
    "w4a16 calibrated": ("--quantize", "w4a16"),
}


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all rows share."""

    model: str
    calibration: tuple[str, ...]  # of the widths and of the rounding
    calibration_windows: int
    window_tokens: int
    evaluation: dict[str, str]  # kind -> text
    evaluation_windows: int
    evaluation_window_tokens: int


def labels(only: tuple[str, ...] = ()) -> dict[str, tuple[float, str]]:
    """Label -> width and bits, the cheap rows first; those whose label holds one of `only`."""
    rows = {f"{name_of(width)}, {bits}": (width, bits) for width, bits in product(WIDTHS, BITS)}
    return {label: row for label, row in rows.items() if not only or any(part in label for part in only)}


def name_of(width: float) -> str:
    """What a row calls an MLP width."""
    return "original" if width == 1.0 else f"width {width:g}"


def run(
    setting: Setting,
    file: Path,
    builds: Path,
    progress: Progress,
    *,
    only: tuple[str, ...] = (),
    speed: bool = False,
) -> dict[str, Any]:
    """Measure what the results file does not hold yet.

    Args:
        setting: what all rows share; another setting starts the file afresh.
        file: JSON, rewritten after each row.
        builds: where the models of the rows go, and stay.
        progress: told about every window that is scored.
        only: see `labels`.
        speed: also measure decoding in vLLM, of the rows that the file holds then.
    """
    results = kept_results.load(file, setting, "rows", "speed")
    builds.mkdir(parents=True, exist_ok=True)
    for label, (width, bits) in labels(only).items():
        if label in results["rows"]:
            continue
        path = _built(setting, width, bits, builds)
        results["rows"][label] = {
            "width": width,
            "bits": bits,
            "path": path.name,
            "bytes": sum(each.stat().st_size for each in path.glob("*.safetensors")),
            "quality": _quality(setting, path, progress),
        }
        kept_results.store(file, results)
    if speed:
        results["speed"] = _speeds(results, builds)
        kept_results.store(file, results)
    return results


def _built(setting: Setting, width: float, bits: str, builds: Path) -> Path:
    """The directory of a row; what is there stays."""
    texts = [part for text in setting.calibration for part in ("--calibration", text)]
    texts += ["--calibration-windows", str(setting.calibration_windows)]
    texts += ["--window-tokens", str(setting.window_tokens)]
    floats = builds / name_of(width).replace(" ", "-")
    if not (floats / MANIFEST_NAME).is_file():
        if width == 1.0:
            save_dense(load_dense(setting.model), floats)
        else:
            narrow = ["compress", setting.model, "-o", str(floats), "--intermediate-size", str(width)]
            _dotresize([*narrow, *texts, "--evaluation", "none"])
    target = builds / f"{floats.name}-{bits.replace(' ', '-')}"
    if not (target / MANIFEST_NAME).is_file():
        rounding = texts if bits.endswith("calibrated") else []
        _dotresize(["export", "vllm", str(floats), "-o", str(target), *BITS[bits], *rounding])
    return target


def _dotresize(arguments: list[str]) -> None:
    """In a process of its own, whose memory is free afterwards."""
    subprocess.run([sys.executable, "-m", "dotresize", *arguments], check=True)


def _quality(setting: Setting, path: Path, progress: Progress) -> dict[str, Any]:
    dense = load_dense(setting.model)
    windows = windows_of_texts(
        list(setting.evaluation.values()),
        dense.tokenizer,
        at_most=setting.evaluation_windows,
        window_tokens=setting.evaluation_window_tokens,
    )
    row = (open_quantised(str(path)) or open_model(str(path))).load()
    return measure_texts({"dense": dense.model, "row": row.model.float()}, windows, progress=progress)


def _speeds(results: dict[str, Any], builds: Path) -> dict[str, float]:
    """Label -> tokens per second of one sequence, the median over rounds; needs at least two rows."""
    places = {label: builds / row["path"] for label, row in results["rows"].items()}
    report = builds / "speed"
    models = [str(path) for path in places.values()]
    how = ["--scenarios", "latency", "--batch-sizes", "1", "--rounds", "3", "--dtype", "bfloat16"]
    _dotresize(["bench", *models, "-o", str(report), "--force", *how])
    found = read(report / "results.json")
    names = {model.path: model.name for model in found.models}
    seconds = {
        label: [
            value
            for each in found.measurements
            if each.model == names[str(path.resolve())] and each.status == "ok"
            for value in each.samples.get("tpot_seconds", [])
        ]
        for label, path in places.items()
    }
    return {label: 1.0 / median(values) for label, values in seconds.items() if values}


def main() -> None:
    """Parse, run, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=DEMO_MODEL)
    parser.add_argument("--calibration", action="append", help="default: builtin")
    parser.add_argument("--calibration-windows", type=int, default=32)
    parser.add_argument("--window-tokens", type=int, default=512)
    parser.add_argument("--rows", action="append", default=[], help="only rows whose label holds this")
    parser.add_argument("--speed", action="store_true", help="also decode speed, in vLLM")
    parser.add_argument("--domains", type=Path, default=Path("build/domains"))
    parser.add_argument("--wikitext", type=Path, default=WIKITEXT)
    parser.add_argument("--evaluation-windows", type=int, default=2)
    parser.add_argument("--builds", type=Path, default=Path("build/bits"))
    parser.add_argument("-o", type=Path, default=PAGES / "BITS.md")
    arguments = parser.parse_args()
    quiet_libraries()
    with ProgressBar() as progress:
        for line in left_out(write_domains(arguments.domains, arguments.wikitext, progress)):
            print(line, file=sys.stderr)  # noqa: T201
        setting = Setting(
            model=arguments.model,
            calibration=tuple(arguments.calibration or ["builtin"]),
            calibration_windows=arguments.calibration_windows,
            window_tokens=arguments.window_tokens,
            evaluation={name: str(path) for name, path in evaluation_files(arguments.domains).items()},
            evaluation_windows=arguments.evaluation_windows,
            evaluation_window_tokens=1024,
        )
        results = run(
            setting,
            arguments.o.with_suffix(".json"),
            arguments.builds,
            progress,
            only=tuple(arguments.rows),
            speed=arguments.speed,
        )
    arguments.o.with_suffix(".svg").write_text(bits_svg(results), encoding="utf-8")
    arguments.o.write_text(render(results, f"{arguments.o.stem}.svg"), encoding="utf-8")
    print(f"written: {arguments.o}")  # noqa: T201


if __name__ == "__main__":
    main()
