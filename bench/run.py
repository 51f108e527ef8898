"""A whole benchmark: prepare, measure in turn, judge, report. Saved after every step, so it can go on.

run_bench(["demo:smollm2-135m", "narrow"], BenchSettings(engine="vllm"), Path("report"), command="...")
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from ..compress.record.progress import Progress, Silent
from ..errors import DotresizeError, InputError, OptionError, OutputError
from ..export.disk.staging import check_apart
from ..export.for_vllm.processor import int4_settings, processor_flags
from ..locks import locked
from .drafting.engine import Speculative
from .judge.judgement import judge
from .measure.baseline import named
from .measure.local_engine import LocalEngine
from .measure.online import Online
from .measure.prepare import prepare, settle
from .measure.schedule import Turn, turns
from .measure.vllm_offline import VllmOffline
from .process.environment import read_environment
from .quality.scenario import measure_quality
from .record.results import BenchModel, Environment, Measurement, Results, is_results, read, write
from .record.settings import BenchSettings

__all__ = ["RESULTS_NAME", "run_bench"]

RESULTS_NAME = "results.json"
WORK_NAME = "work"  # copies of models, logs of engines
LOCK_NAME = ".lock"


class Engine(Protocol):
    """Measures one model."""

    def measure(self, model: BenchModel, turn: Turn) -> list[Measurement]:
        """One measurement per load of the turn; a failure is recorded, never raised."""
        ...


def run_bench(
    sources: list[str],
    settings: BenchSettings,
    directory: Path,
    *,
    command: str,
    resume: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> Results:
    """Measure the original and its narrow copies, and write results.json and the report.

    Args:
        sources: the original first.
        settings: what to measure.
        directory: gets the results, the report, and a work folder with logs.
        command: what reproduces the run, for the report.
        resume: go on with an interrupted run; what was measured is kept, what failed is tried again.
        force: replace an older report.
        progress: told about every step.

    Raises:
        DotresizeError: The models do not compare, the engine is missing, or the output is in the way.
            A failure of one measurement is recorded in the results and raises nothing.
    """
    progress = progress or Silent()
    settings = settle(settings)
    _check_free(directory, resume=resume, force=force)
    places = [Path(named(source).model).expanduser() for source in sources]
    check_apart(directory, [path for path in places if path.exists()])
    work, fresh = directory / WORK_NAME, not directory.exists()
    with _locked(directory):
        known = directory / RESULTS_NAME
        earlier = read(known) if resume and known.is_file() else None
        save: Callable[[], None]
        with nullcontext() if earlier else _set_aside(work):
            try:
                models = prepare(sources, settings, work, progress)
                engine = _engine(settings, work, models)
            except DotresizeError:
                if fresh:
                    shutil.rmtree(directory, ignore_errors=True)
                raise
            results = earlier or Results(
                created_utc=_now(),
                command=command,
                settings=settings,
                environment=_environment(models, settings),
                models=models,
            )
            _check_same_run(results, models, settings, directory)
            results.complete = False
            save = _saver(results, known)
            save()
        _measure_all(results, engine, progress, save)
        if "quality" in settings.scenarios and results.quality is None:
            results.quality = measure_quality(models, settings, progress)
            save()
        judge(results, progress)
        results.complete = True
        save()
        _report(results, directory)
    return results


def _environment(models: list[BenchModel], settings: BenchSettings) -> Environment:
    """Where it runs, with what the engine is told that changes its answers."""
    here = read_environment()
    if settings.engine != "vllm" or settings.device != "cpu":
        return here
    chosen = dict(here.engine_settings)
    for model in models:
        chosen |= int4_settings(model.precision, settings.dtype, processor_flags())
    return replace(here, engine_settings=chosen)


def _check_free(directory: Path, *, resume: bool, force: bool) -> None:
    """Refuse a directory that is in the way, before anything is written or removed."""
    if directory.exists() and not directory.is_dir():
        raise OutputError(f"{directory} is a file, expected a directory for the report")
    if not directory.is_dir() or not any(directory.iterdir()):
        return
    if (directory / RESULTS_NAME).is_file():
        if not resume and not force:
            raise OutputError(
                f"{directory} holds a benchmark already; go on with it by --resume, or replace it by --force"
            )
        if resume:
            read(directory / RESULTS_NAME)  # refused before a lock is made beside it
        if force and not is_results(directory / RESULTS_NAME):
            raise OutputError(
                f"{directory / RESULTS_NAME} is no benchmark of ours; --force does not replace it, "
                "move it away or choose another directory"
            )
    elif not (directory / LOCK_NAME).is_file():
        raise OutputError(f"{directory} holds files that are no benchmark of ours; choose another directory")


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Keep a second run out of the same directory."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{directory} cannot be written: {error.strerror}") from error
    with locked(directory / LOCK_NAME, what=str(directory)):
        yield


@contextmanager
def _set_aside(work: Path) -> Iterator[None]:
    """Keep an earlier run's work until the new one has begun; put it back when that fails.

    Its copies may be of older models, so the new run must not find them.
    """
    old = work.with_name(f"{WORK_NAME}.old")
    if old.exists():  # a run was killed before it began
        shutil.rmtree(work, ignore_errors=True)
    elif work.exists():
        work.rename(old)
    try:
        yield
    except BaseException:
        shutil.rmtree(work, ignore_errors=True)
        if old.exists():
            old.rename(work)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _engine(settings: BenchSettings, work: Path, models: list[BenchModel]) -> Callable[[Turn], Engine]:
    """Which part of the engine measures a turn."""
    offline = (VllmOffline if settings.engine == "vllm" else LocalEngine)(settings, work)
    offline.check(models)
    online = Online(settings, work)
    others: dict[str, Engine] = {"online": online, "rate": online}
    if "speculative" in settings.scenarios:
        others["speculative"] = speculative = Speculative(settings, work, models)
        speculative.check(models)
    return lambda turn: others.get(turn.scenario, offline)


def _check_same_run(
    results: Results, models: list[BenchModel], settings: BenchSettings, directory: Path
) -> None:
    """Refuse to mix measurements of different models, settings or machines."""
    known, asked = asdict(results.settings), asdict(settings)
    changed = [name for name in asked if known[name] != asked[name]]
    if changed:
        raise OptionError(
            f"{directory} was measured with other settings ({', '.join(changed)}); repeat them to resume, or "
            "start again with --force"
        )
    if [(model.name, model.sha256) for model in results.models] != [
        (each.name, each.sha256) for each in models
    ]:
        raise InputError(f"{directory} was measured with other models; start again with --force")
    here = read_environment()
    if (here.processor, here.gpu) != (results.environment.processor, results.environment.gpu):
        raise InputError(
            f"{directory} was measured on another machine ({results.environment.processor}); start again "
            "with --force, or finish it there"
        )


def _measure_all(
    results: Results, engine: Callable[[Turn], Engine], progress: Progress, save: Callable[[], None]
) -> None:
    """Run every turn that is not done; failures of an earlier attempt are tried again."""
    results.measurements = [each for each in results.measurements if each.status == "ok"]
    done = {(each.round, each.model, each.scenario, each.load) for each in results.measurements}
    by_name = {model.name: model for model in results.models}
    planned = turns(list(by_name), results.settings)
    progress.begin("measuring", len(planned))
    for turn in planned:
        missing = tuple(
            load for load in turn.loads if (turn.round, turn.model, turn.scenario, load) not in done
        )
        if missing:
            started = _now()
            measured = engine(turn).measure(by_name[turn.model], replace(turn, loads=missing))
            results.measurements += [replace(each, started_utc=started) for each in measured]
            save()
        progress.advance()


def _report(results: Results, directory: Path) -> None:
    from .report.page import write_report

    write_report(results, directory)


def _saver(results: Results, path: Path) -> Callable[[], None]:
    return lambda: write(results, path)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
