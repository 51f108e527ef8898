"""`make bench-recover`: what recovery wins back, by what is trained and from which start; docs/RECOVER.md.

    python -m docs.make.recovery --narrow DIR [--minutes 45]

Rows are kept in docs/RECOVER.json as they finish; an interrupted run goes on where it stopped, in the middle
of a row, too. The first row, the layers of the fitted model, runs for the given minutes; the others take as
many tokens.
"""

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dotresize.cli.printed.output import quiet_libraries
from dotresize.cli.printed.progress import ProgressBar
from dotresize.compress.record.progress import Progress
from dotresize.compress.weights.source import DEMO_MODEL
from dotresize.export.contract import manifest

from ..shared import kept_results
from ..shared.evaluation import (
    WINDOW_TOKENS,
    Evaluation,
    Scored,
    add_options,
    dotresize,
    evaluation_texts,
    write_page,
)
from ..shared.kept_dense import KEPT
from .page import curves, render

FITTED, PLAIN = "fitted", "plain pruning"
ROWS = {
    f"{FITTED}, layers": (FITTED, "layers"),
    f"{PLAIN}, layers": (PLAIN, "layers"),
    f"{FITTED}, lora": (FITTED, "lora"),
    f"{FITTED}, norms": (FITTED, "norms"),
    f"{FITTED}, all": (FITTED, "all"),
}


@dataclass(frozen=True, kw_only=True)
class Setting(Evaluation):
    """What all rows share."""

    model: str
    narrow: str  # the fitted start, a directory that `dotresize compress` wrote
    narrow_options: str = ""  # with which it did, for the page
    texts: tuple[str, ...]  # to train on, with optional shares
    minutes: float | None  # of the first row
    tokens: int | None  # of the first row, instead of minutes
    options: tuple[str, ...]  # further ones of `dotresize recover`, for all rows


def run(
    setting: Setting, file: Path, builds: Path, progress: Progress, *, kept: Path = KEPT
) -> dict[str, Any]:
    """Measure what the results file does not hold yet.

    Args:
        setting: what all rows share; another setting starts the file afresh.
        file: JSON, rewritten after each row.
        builds: where the models of the rows go, and stay.
        progress: told about every window that is scored.
        kept: where the original's answers are, or go.
    """
    results = kept_results.load(file, setting, "starts", "rows")
    builds.mkdir(parents=True, exist_ok=True)
    scored = Scored(setting.model, setting, kept, progress)
    starts = {FITTED: Path(setting.narrow), PLAIN: builds / "plain"}
    if not (starts[PLAIN] / manifest.MANIFEST_NAME).is_file():
        dotresize(plain_command(setting, starts[PLAIN]))
    results["plain_command"] = plain_command(setting, starts[PLAIN])
    for name, path in starts.items():
        if name not in results["starts"]:
            results["starts"][name] = scored.against_original(path)
            kept_results.store(file, results)
    for label, (start, train) in ROWS.items():
        if label in results["rows"]:
            continue
        output = builds / label.replace(", ", "-").replace(" ", "-")
        length = _length(setting, results)
        command = recover_command(setting, starts[start], train, length, output)
        if not (output / manifest.MANIFEST_NAME).is_file():
            dotresize(command)
        record = manifest.read(output).recovery
        assert record is not None
        results["rows"][label] = {
            "command": command,
            "recovery": json.loads(json.dumps(asdict(record))),
            "quality": scored.against_original(output),
        }
        kept_results.store(file, results)
    return results


def plain_command(setting: Setting, output: Path) -> list[str]:
    """The smallest neurons dropped and nothing fitted, at the widths of the fitted model."""
    report = manifest.read(Path(setting.narrow)).report
    assert report is not None
    narrow, dense = report.narrow, report.dense
    widths = ["--intermediate-size", str(narrow.intermediate_size)]
    if narrow.hidden_size != dense.hidden_size:
        widths += ["--hidden-size", str(narrow.hidden_size), "--method", "magnitude"]
    windows = ["--calibration-windows", str(report.calibration.windows)]
    windows += ["--window-tokens", str(report.calibration.window_tokens)]
    texts = [part for text in setting.texts for part in ("--calibration", text)]
    methods = ["--mlp-method", "magnitude", "--compensate", "none"]
    return ["compress", setting.model, "-o", str(output), *widths, *methods, *texts, *windows]


def recover_command(setting: Setting, start: Path, train: str, length: list[str], output: Path) -> list[str]:
    """The arguments of `dotresize` for a row."""
    texts = [part for text in setting.texts for part in ("--text", text)]
    shared = ["--teacher", setting.model, *texts, *length, *setting.options]
    return ["recover", str(start), *shared, "--train", train, "-o", str(output)]


def _length(setting: Setting, results: dict[str, Any]) -> list[str]:
    """Of the first row as asked for, of the others as many tokens as the first trained on."""
    first = results["rows"].get(next(iter(ROWS)))
    if first is not None:
        return ["--tokens", str(first["recovery"]["curve"][-1]["tokens"])]
    if setting.minutes is not None:
        return ["--minutes", str(setting.minutes)]
    return ["--tokens", str(setting.tokens)]


def main() -> None:
    """Parse, run, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=DEMO_MODEL)
    parser.add_argument("--narrow", required=True, help="the fitted model, of `dotresize compress`")
    parser.add_argument("--narrow-options", default="", help="it was made with, for the page")
    parser.add_argument("--text", action="append", help="to train on; default: self=0.5 and builtin")
    parser.add_argument("--minutes", type=float, help="of the first row; default 45")
    parser.add_argument("--tokens", type=int, help="of the first row, instead of --minutes")
    parser.add_argument(
        "--option", action="append", default=[], help="for all rows: --option=--evaluations=5"
    )
    add_options(parser, builds="build/recover", page="RECOVER.md")
    arguments = parser.parse_args()
    quiet_libraries()
    with ProgressBar() as progress:
        setting = Setting(
            model=arguments.model,
            narrow=arguments.narrow,
            narrow_options=arguments.narrow_options,
            texts=tuple(arguments.text or ["self=0.5", "builtin"]),
            minutes=arguments.minutes or (None if arguments.tokens else 45.0),
            tokens=arguments.tokens,
            options=tuple(part for option in arguments.option for part in option.split("=", 1)),
            evaluation=evaluation_texts(arguments, progress),
            evaluation_windows=arguments.evaluation_windows,
            evaluation_window_tokens=WINDOW_TOKENS,
        )
        results = run(setting, arguments.o.with_suffix(".json"), arguments.builds, progress)
    write_page(arguments.o, render(results, f"{arguments.o.stem}.svg"), curves(results))
