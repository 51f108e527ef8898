"""From a budget to a plan: candidates, a proxy for each, a search that measures, the cost of the run."""

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

from ..bench.measure.prepare import settle
from ..bench.record.settings import BenchSettings
from ..compress.families.shape import widths_of
from ..compress.record.config import CompressConfig
from ..compress.record.progress import Progress, Silent
from ..compress.run import check_inputs, choose_device
from ..compress.weights.source import OpenModel, open_model
from ..compress.widths.plan import make_plan
from ..errors import OptionError, WidthError
from ..export.for_vllm.config import GROUPED
from ..version import __version__
from .axes import Axes, Candidate, axes_of, config_of
from .budget import Budget
from .candidates import check_feasible, single_axis, spread
from .chooser import Chooser
from .forecast import RunCost, calibration_tokens, planned_sizes, resident_bytes, run_cost, stored_dtype
from .hardware import serving_rates
from .measure import lowest_fidelity
from .per_layer import uniformity_of
from .prediction import Predictor
from .rates import watched_rates
from .record import PlanRecord, Point
from .search import AMOUNTS, Effort
from .search_state import SearchState
from .size_model import SizeModel

__all__ = ["PlanSettings", "plan_widths", "predictor_of"]


@dataclass(frozen=True, kw_only=True)
class PlanSettings:
    """How to plan.

    Attributes:
        budget: what must hold.
        base: options of the compression that is planned; its widths do not count.
        engine: that will serve.
        target: whose data sheet gives the speed; None: this machine.
        tensor_parallel_size: over how many GPUs heads and MLP will be split.
        effort: quick trusts the proxy; standard measures some candidates, thorough more.
        evaluation: texts that candidates are scored on.
        quality_floor: perplexity ratio to the original at most, as measured on them.
        quantize: what the result will be quantised to; w4a16 and w8a16 want widths that groups divide. The
            budget counts the weights as they are before that.
    """

    budget: Budget
    base: CompressConfig = field(default_factory=lambda: CompressConfig(mlp_width=0.5))
    engine: Literal["vllm", "onnx"] = "vllm"
    target: str | None = None
    tensor_parallel_size: int = 1
    effort: Effort = "standard"
    evaluation: tuple[str, ...] = ("builtin",)
    quality_floor: float | None = None
    quantize: str = "none"

    def __post_init__(self) -> None:
        if self.effort not in ("quick", *AMOUNTS):
            raise OptionError(f"--effort is {self.effort!r}; choose one of quick, {', '.join(AMOUNTS)}.")
        if self.engine not in ("vllm", "onnx"):
            raise OptionError(f"--engine is {self.engine!r}; choose one of vllm, onnx.")
        if self.quantize not in ("none", *GROUPED):
            raise OptionError(
                f"--quantize is {self.quantize!r}; a plan takes {' or '.join(GROUPED)}, whose groups must "
                "divide its widths. Others ask for no other plan: leave it out."
            )
        if self.budget.decode_speedup is None and self.target is not None:
            raise OptionError("--target has no effect without --decode-speedup; leave one of them out.")
        if self.effort == "quick" and self.quality_floor is not None:
            raise OptionError("--quality-floor has no effect with --effort quick, which measures nothing.")
        if self.effort == "quick" and self.evaluation != ("builtin",):
            raise OptionError("--evaluation has no effect with --effort quick, which measures nothing.")

    def hashed(self, model: str) -> str:
        """Of everything that decides the plan for a model but the model's content."""
        asked = [model, {name: value for name, value in asdict(self).items() if name != "base"}]
        base = {name: value for name, value in vars(self.base).items() if name != "device"}
        return hashlib.sha256(json.dumps([*asked, base], sort_keys=True).encode()).hexdigest()


def plan_widths(
    model: str,
    settings: PlanSettings,
    *,
    progress: Progress | None = None,
    output: Path | None = None,
) -> tuple[PlanRecord, SearchState | None]:
    """Choose widths for a budget.

    Args:
        model: as `compress` takes it.
        settings: budget, engine, effort.
        progress: told about every step.
        output: where the plan will be written; measured candidates wait beside it, so that the same call
            resumes. None keeps nothing.

    Returns:
        The plan, and the state of the search, to be discarded once the plan is safe.

    Raises:
        WidthError: the budget is out of reach.
        InputError: the model, a text or an option cannot be used.
    """
    progress, base = progress or Silent(), settings.base
    opened = open_model(model, trust_remote_code=base.trust_remote_code)
    grouped = settings.quantize in GROUPED
    axes = axes_of(opened.config, opened.family, settings.tensor_parallel_size, grouped=grouped)
    predictor = predictor_of(opened, axes, settings)
    needs = predictor.needs()
    check_feasible(axes, predictor.predict, needs)
    pool = spread(axes, predictor.predict, needs)
    if not pool:
        raise WidthError("no widths on the grid meet the whole budget together; loosen one part of it.")
    tokens = _checked_tokens(opened, pool[0], axes, base)
    fidelity = lowest_fidelity(tokens, base)
    base_bytes = resident_bytes()
    chooser = Chooser(opened.load(), axes, predictor, base, fidelity, progress)
    singles = single_axis(axes, predictor.predict, needs)
    chosen = chooser.choose(
        pool, singles, needs, settings.effort, settings.evaluation, output, settings.quality_floor
    )
    cost, notes = _cost(opened, axes, chosen, base, tokens=tokens, base_bytes=base_bytes)
    points = [chooser.point(candidate) for candidate in (chosen, *singles.values())]
    record = _record(opened, settings, predictor, points, chooser.front(pool, needs), cost)
    return replace(record, evaluations=chooser.evaluations, notes=notes), chooser.state


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


def predictor_of(opened: OpenModel, axes: Axes, settings: PlanSettings) -> Predictor:
    """What a candidate is worth against the budget of some settings.

    Raises:
        OptionError: the target is not known, or so many sequences cannot be timed.
        EngineError: this machine's rates could not be measured.
    """
    serving = None
    if settings.budget.decode_speedup is not None:
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
