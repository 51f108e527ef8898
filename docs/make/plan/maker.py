"""`make bench-plan`: plans against each axis alone, and how right their predictions are; docs/PLAN.md.

    python -m docs.make.plan [--quick] [--part fronts] [--only "params 0.7"]

Rows are kept in docs/PLAN.json as they finish, those of --quick and of the default side by side; an
interrupted run goes on where it stopped, in the middle of a search, too.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from dotresize.cli.printed.output import quiet_libraries
from dotresize.cli.printed.progress import ProgressBar
from dotresize.compress.record.progress import Progress
from dotresize.compress.text.calibration import Windows
from dotresize.compress.weights.source import DEMO_MODEL, DenseModel, load_dense, open_model
from dotresize.errors import InputError
from dotresize.export.disk.staging import scratch_directory, write_atomically
from dotresize.json_files import read_json, validated
from dotresize.plan.axes import axes_of
from dotresize.plan.engine_steps import measure_step_time, step_settings
from dotresize.plan.hardware import Serving
from dotresize.plan.planner import predictor_of
from dotresize.plan.settings import PlanSettings
from dotresize.plan.workers import Workers

from ..domains.maker import WIKITEXT
from ..domains.suite import evaluation_files, write_domains
from ..quality.texts import MIXED
from ..shared import kept_results
from ..shared.kept_dense import KEPT, KeptDense
from .forecasts import measure_forecast
from .fronts import measure_front, plan_of, point_of_row, windows_for
from .layers import measure_layers
from .page import render
from .plot import plan_svg
from .setting import (
    BUDGETS,
    DEFAULT,
    PARTS,
    QUICK,
    SPEED,
    SPEED_PLANS,
    Amount,
    Engine,
    Part,
    Setting,
    labels_of,
    parts_of_label,
)
from .speed import measure_speed

__all__ = ["Maker"]

PAGES = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True)
class Maker:
    """Measures the rows that a results file does not hold yet."""

    setting: Setting
    amount: Amount
    file: Path  # JSON, rewritten after each row
    builds: Path  # models and searches
    progress: Progress
    rounds: int = 3  # of the speed rows, and of what they are predicted from
    kept: Path = KEPT  # the original's answers
    workers: Workers = Workers()  # of searches

    @cached_property
    def results(self) -> dict[str, Any]:
        """What is known, by part and label; of another setting, nothing is."""
        return kept_results.load(self.file, self.setting, *PARTS)

    @cached_property
    def dense(self) -> DenseModel:
        """The original."""
        return load_dense(self.setting.model)

    @cached_property
    def original(self) -> KeptDense:
        """What rows are compared to."""
        return KeptDense(self.dense, self.kept)

    @cached_property
    def texts(self) -> list[Windows]:
        """What rows are scored on."""
        return windows_for(self.setting, self.amount, self.dense)

    def serving(self, engine: Engine) -> Serving:
        """How fast an engine is on this machine, measured on three models once."""
        file = self.builds / f"serving-{engine}.json"
        if not file.is_file():
            opened = open_model(self.setting.model)
            axes, base = axes_of(opened.config, opened.family), self.setting.widthless()
            asked = PlanSettings(budget=SPEED, base=base, engine=engine, effort="quick")
            predictor = predictor_of(opened, axes, asked)
            assert predictor.serving is not None
            run = step_settings(SPEED, engine, rounds=self.rounds, seed=self.setting.seed)
            with scratch_directory(file) as work:
                step, _ = measure_step_time(opened, axes, predictor, base, run, work, self.progress)
            found = replace(predictor.serving, step=step)
            write_atomically(file, json.dumps(asdict(found), indent=1) + "\n")
        return validated(Serving, read_json(file, InputError), str(file), InputError)

    def run(self, parts: tuple[Part, ...] = PARTS, only: str = "", most: int | None = None) -> None:
        """Measure in order.

        Args:
            parts: of the page.
            only: rows whose label holds this.
            most: rows to measure this time.
        """
        measure: dict[Part, Callable[[str], dict[str, Any]]] = {
            "fronts": self._front,
            "forecasts": lambda label: measure_forecast(self.setting, label, self.builds),
            "layers": self._layers,
            "speed": self._speed,
        }
        for part in parts:
            known = self.results[part]
            missing = [
                label for label in labels_of(part, self.amount) if only in label and label not in known
            ]
            for label in missing[:most]:
                known[label] = measure[part](label)
                kept_results.store(self.file, self.results)

    def _front(self, label: str) -> dict[str, Any]:
        name, budget, row = parts_of_label(label)
        serving = self.serving("vllm") if BUDGETS[budget].decode_speedup else None
        record = plan_of(
            self.setting, budget, row, self.amount, self.builds, self.progress, serving, self.workers
        )
        point = point_of_row(record, row)
        if point is None:
            return {"unreachable": True}
        for other, found in self.results["fronts"].items():
            if other.startswith(f"{name}: ") and found.get("point", {}).get("widths") == point.widths:
                return {**found, "evaluations": record.evaluations}  # the same model, whichever way it came
        return measure_front(
            self.setting,
            self.amount,
            record,
            point,
            self.dense,
            self.original,
            self.texts,
            self.builds,
            self.progress,
        )

    def _layers(self, label: str) -> dict[str, Any]:
        _, name = parts_of_label(label)
        return measure_layers(
            self.setting, self.amount, name, self.dense, self.original, self.texts, self.progress
        )

    def _speed(self, label: str) -> dict[str, Any]:
        name, plan = parts_of_label(label)
        engine: Engine = "vllm" if name == "vllm" else "onnx"
        return measure_speed(
            self.setting,
            SPEED_PLANS[plan],
            self.serving(engine),
            engine,
            self.builds,
            self.progress,
            rounds=self.rounds,
        )


def setting_of(model: str, domains: Path) -> Setting:
    """Fitted on some kinds of text, searched on others, scored on the held-out half of all.

    What a search scores on is of the halves that are fitted on, of kinds that nothing is fitted on; so
    neither has seen a document that the page is made from.
    """
    files = evaluation_files(domains)
    halves = {name: str(domains / f"{name}.calibration.jsonl") for name in files}
    return Setting(
        model=model,
        calibration=tuple(halves[name] for name in MIXED if name in halves),
        searched=tuple(half for name, half in halves.items() if name not in MIXED),
        evaluation={name: str(path) for name, path in files.items()},
    )


def main() -> None:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default=DEMO_MODEL)
    parser.add_argument("--quick", action="store_true", help="fewer tokens and windows, cheap fits")
    parser.add_argument("--part", action="append", choices=PARTS, help="of the page; repeatable")
    parser.add_argument("--only", default="", help="rows whose label holds this, as in 'params 0.7: mlp'")
    parser.add_argument("--rows", type=int, help="measure at most this many rows of each part this time")
    parser.add_argument("--rounds", type=int, default=3, help="of the speed rows")
    parser.add_argument("--jobs", type=int, default=1, help="candidates of a search at a time")
    parser.add_argument("--domains", type=Path, default=Path("build/domains"))
    parser.add_argument("--wikitext", type=Path, default=WIKITEXT)
    parser.add_argument("--builds", type=Path, default=Path("build/plan"))
    parser.add_argument("-o", type=Path, default=PAGES / "PLAN.md")
    arguments = parser.parse_args()
    quiet_libraries()
    page: Path = arguments.o
    with ProgressBar() as progress:
        write_domains(arguments.domains, arguments.wikitext, progress)
        maker = Maker(
            setting=setting_of(arguments.model, arguments.domains),
            amount=QUICK if arguments.quick else DEFAULT,
            file=page.with_suffix(".json"),
            builds=arguments.builds,
            progress=progress,
            rounds=arguments.rounds,
            workers=Workers(jobs=arguments.jobs),
        )
        maker.run(tuple(arguments.part or PARTS), arguments.only, arguments.rows)
    plot = page.with_suffix(".svg")
    plot.write_text(plan_svg(maker.results), encoding="utf-8")
    page.write_text(render(maker.results, plot.name), encoding="utf-8")
    print(f"written: {page}")  # noqa: T201
