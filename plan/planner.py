"""From a budget to a plan: candidates, a proxy for each, a search that measures, the cost of the run."""

import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from ..bench.measure.prepare import settle
from ..bench.record.settings import BenchSettings
from ..compress.families.shape import widths_of
from ..compress.record.config import CompressConfig
from ..compress.record.progress import Progress, Silent
from ..compress.run import check_inputs, choose_device
from ..compress.weights.files import sha256_of
from ..compress.weights.source import OpenModel, open_model
from ..compress.widths.plan import make_plan
from ..errors import EngineError, MissingDependencyError, ModelError, OptionError, WidthError
from ..export.disk.staging import scratch_directory
from ..export.for_vllm.config import GROUPED
from ..version import __version__
from .axes import Axes, Candidate, axes_of, config_of
from .candidates import check_feasible, single_axis, spread
from .chooser import Chooser
from .engine_steps import measure_step_time, step_settings
from .hardware import Serving, serving_rates
from .measure import Measurer, Recipe, lowest_fidelity, search_identity
from .per_layer import uniformity_of
from .prediction import Predictor
from .record import PlanRecord, Point
from .run_cost.forecast import (
    RunCost,
    calibration_tokens,
    planned_sizes,
    resident_bytes,
    run_cost,
    stored_dtype,
)
from .run_cost.rates import watched_rates
from .search_state import SearchState, state_path
from .settings import PlanSettings
from .size_model import SizeModel
from .workers import Workers, open_workers

__all__ = ["plan_widths", "predictor_of"]


def plan_widths(
    model: str,
    settings: PlanSettings,
    *,
    progress: Progress | None = None,
    output: Path | None = None,
    serving: Serving | None = None,
    workers: Workers | None = None,
) -> tuple[PlanRecord, SearchState | None]:
    """Choose widths for a budget.

    Args:
        model: as `compress` takes it.
        settings: budget, engine, effort.
        progress: told about every step.
        output: where the plan will be written; measured candidates wait beside it, so that the same call
            resumes. None keeps nothing.
        serving: how fast it is served, of an earlier plan; None: measured here, or of the target.
        workers: who measures candidates; None: this process, one after the other.

    Returns:
        The plan, and the state of the search, to be discarded once the plan is safe.

    Raises:
        WidthError: the budget is out of reach.
        InputError: the model, a text or an option cannot be used.
        MissingDependencyError: Ray was asked for and is not installed.
        EngineError: a worker has ended.
    """
    progress, base, workers = progress or Silent(), settings.base, workers or Workers()
    if settings.effort == "quick" and workers != Workers():
        raise OptionError("--jobs and --executor have no effect with --effort quick, which measures nothing.")
    opened = open_model(model, trust_remote_code=base.trust_remote_code)
    grouped = settings.quantize in GROUPED
    axes = axes_of(opened.config, opened.family, settings.tensor_parallel_size, grouped=grouped)
    predictor = predictor_of(opened, axes, settings, serving)
    pool = _pool(axes, predictor)
    tokens = _checked_tokens(opened, pool[0], axes, base)
    fidelity, base_bytes = lowest_fidelity(tokens, base), resident_bytes()
    state: SearchState | None = None
    notes: list[str] = []
    if settings.effort != "quick":
        identity = search_identity(sha256_of(opened.files), base, settings.evaluation, fidelity)
        state = SearchState.open(None if output is None else state_path(output), identity)
    if predictor.serving is not None and serving is None and settings.target is None:
        served, notes = _served_here(opened, axes, predictor, settings, state, output, progress)
        predictor = predictor_of(opened, axes, settings, served)
        pool = _pool(axes, predictor)
    needs = predictor.needs()
    chooser = Chooser(opened.stream(), axes, predictor, base, fidelity, progress)
    singles = single_axis(axes, predictor.predict, needs)
    with ExitStack() as stack:
        measure = None
        if state is not None:
            recipe = Recipe(
                model=opened.spec,
                own=axes.dense,
                base=base,
                evaluation=settings.evaluation,
                fidelity=fidelity,
            )
            score = stack.enter_context(open_workers(workers, recipe, notes.append))
            measure = Measurer(score, state, progress)
        chosen = chooser.choose(pool, singles, needs, settings.effort, measure, settings.quality_floor)
    cost, disturbed = _cost(opened, axes, chosen, base, tokens=tokens, base_bytes=base_bytes)
    points = [chooser.point(candidate) for candidate in (chosen, *singles.values())]
    record = _record(opened, settings, predictor, points, chooser.front(pool, needs), cost)
    return replace(record, evaluations=chooser.evaluations, notes=[*notes, *disturbed]), state


def _pool(axes: Axes, predictor: Predictor) -> list[Candidate]:
    """Candidates that meet the budget.

    Raises:
        WidthError: there are none.
    """
    needs = predictor.needs()
    check_feasible(axes, predictor.predict, needs)
    pool = spread(axes, predictor.predict, needs)
    if not pool:
        raise WidthError("no widths on the grid meet the whole budget together; loosen one part of it.")
    return pool


def _served_here(
    opened: OpenModel,
    axes: Axes,
    predictor: Predictor,
    settings: PlanSettings,
    state: SearchState | None,
    output: Path | None,
    progress: Progress,
) -> tuple[Serving, list[str]]:
    """How fast the engine is on this machine, and what is to be said about it.

    An engine that cannot be measured leaves the roofline alone.
    """
    rounds = 1 if settings.effort == "quick" else 3
    run = step_settings(settings.budget, settings.engine, rounds=rounds, seed=settings.base.seed)
    key = f"{run.engine}, {run.dtype}, {run.input_tokens} + {run.output_tokens} tokens x {run.batch_sizes[0]}"
    if state is not None and key in state.serving:
        return state.serving[key], []
    roofline = predictor.serving
    assert roofline is not None
    target = output or Path(tempfile.gettempdir()) / "dotresize-plan"
    try:
        with scratch_directory(target) as work:
            step, notes = measure_step_time(opened, axes, predictor, settings.base, run, work, progress)
    except (EngineError, MissingDependencyError, ModelError) as error:
        return roofline, [
            f"{settings.engine} was not measured, so speed-ups are what bytes and FLOPs allow, which is too "
            f"much: {error}"
        ]
    served = replace(roofline, step=step)
    if state is not None:
        state.keep_serving(key, served)
    return served, notes


def _record(
    opened: OpenModel,
    settings: PlanSettings,
    predictor: Predictor,
    points: list[Point],
    front: list[Point],
    cost: RunCost,
) -> PlanRecord:
    """The first of the points was chosen, the others move one axis each."""
    serving = predictor.serving
    uniform = uniformity_of(settings.engine, opened.config.model_type)
    return PlanRecord(
        tool_version=__version__,
        model=opened.spec,
        architecture=opened.architecture,
        dense=predictor.widths,
        budget=settings.budget,
        dtype=predictor.dtype,
        engine=settings.engine,
        speed_of=None if serving is None else serving.name,
        speed_origin=None if serving is None else serving.origin,
        step=None if serving is None else serving.step,
        effort=settings.effort,
        quality_floor=settings.quality_floor,
        asked=settings.hashed(opened.spec),
        evaluations=0,
        per_layer=sorted(uniform.per_layer),
        uniform_because=uniform.reason,
        original=predictor.predict(predictor.dense),
        chosen=points[0],
        single_axes=points[1:],
        front=front,
        cost=cost,
    )


def predictor_of(
    opened: OpenModel, axes: Axes, settings: PlanSettings, serving: Serving | None = None
) -> Predictor:
    """What a candidate is worth against the budget of some settings.

    Args:
        opened: the model.
        axes: of it.
        settings: budget, engine, target.
        serving: how fast it is served; None: the roofline of the target, or of this machine as measured now.

    Raises:
        OptionError: the target is not known, or so many sequences cannot be timed.
        EngineError: this machine's rates could not be measured.
    """
    if settings.budget.decode_speedup is None:
        serving = None
    elif serving is None:
        run = settle(BenchSettings(engine=settings.engine))
        serving = serving_rates(settings.target, run.dtype)
    return Predictor(
        SizeModel(opened.config, opened.family, axes, settings.base),
        widths_of(opened.config, opened.family),
        settings.budget,
        dtype=str(stored_dtype(opened, settings.base)).removeprefix("torch."),
        serving=serving,
        engine=settings.engine,
    )


def _checked_tokens(opened: OpenModel, candidate: Candidate, axes: Axes, base: CompressConfig) -> int:
    """Calibration tokens of the run that is planned; what that would refuse has been refused.

    Raises:
        InputError: a text or an option cannot be used.
    """
    check_inputs(opened, config_of(candidate, axes.dense, base))
    return calibration_tokens(base, opened)


def _cost(
    opened: OpenModel, axes: Axes, chosen: Candidate, base: CompressConfig, *, tokens: int, base_bytes: int
) -> tuple[RunCost, list[str]]:
    """And what disturbed the measurement of this machine's speed."""
    config = config_of(chosen, axes.dense, base)
    plan = make_plan(opened.config, opened.family, config)
    rates, notes = watched_rates(plan.dense, choose_device(config.device))
    sizes = planned_sizes(opened, plan, config)
    cost = run_cost(opened, plan, config, sizes, tokens=tokens, rates=rates, base_bytes=base_bytes)
    return cost, notes
