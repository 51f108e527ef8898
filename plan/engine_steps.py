"""How long a decode step takes in the engine that will serve, from three models that are measured in it.

An engine's step is not the roofline's: matrices stay below the machine's rates, and every layer and every
step has a price that no width shortens. With R the roofline's seconds and L layers,

    seconds = f R + o L + c

and f, o, c follow from the original, a copy with about half its widths and one with about half its layers.
What their weights say does not matter, so nothing is fitted for them.
"""

import gc
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Literal

import numpy as np
from scipy.optimize import nnls

from ..bench.judge.analysis import BUSY_SHARE
from ..bench.judge.paired import compare_pairs
from ..bench.measure.local_engine import LocalEngine
from ..bench.measure.prepare import prepare, settle
from ..bench.measure.schedule import turns
from ..bench.measure.vllm_offline import VllmOffline
from ..bench.record.results import Measurement
from ..bench.record.settings import BenchSettings
from ..compress.record.config import CompressConfig
from ..compress.record.progress import Progress
from ..compress.run import compress
from ..compress.weights.source import OpenModel
from ..errors import EngineError
from ..export.checkpoint.write import save
from .axes import AXES, Axes, Candidate, config_of
from .budget import Budget
from .hardware import StepTime
from .prediction import Predictor

__all__ = [
    "DecodeSteps",
    "Probe",
    "fit_step_time",
    "measure_decode_steps",
    "measure_step_time",
    "probed",
    "step_settings",
    "write_without_fits",
]

Engine = Literal["vllm", "onnx"]
INPUT_TOKENS, OUTPUT_TOKENS = 128, 64  # at most; what a longer context adds is the roofline's
CALIBRATION = "builtin:documentation"
CALIBRATION_WINDOWS, WINDOW_TOKENS = 4, 128
HIDDEN, MLP, LAYERS = (AXES.index(axis) for axis in ("hidden", "mlp", "layers"))


@dataclass(frozen=True, kw_only=True)
class DecodeSteps:
    """Of models that were measured in turn."""

    seconds: tuple[tuple[float, ...], ...]  # of a step, for each model by round
    busy_elsewhere: float  # what others used of the machine, at most


@dataclass(frozen=True, kw_only=True)
class Probe:
    """One model in an engine."""

    layers: int
    roofline_seconds: float
    seconds: float


def step_settings(budget: Budget, engine: Engine, *, rounds: int, seed: int) -> BenchSettings:
    """How steps are measured for a budget: as many sequences, and a context that is soon read."""
    return settle(
        BenchSettings(
            engine=engine,
            scenarios=("latency",),
            input_tokens=min(budget.context, INPUT_TOKENS),
            output_tokens=OUTPUT_TOKENS,
            batch_sizes=(budget.concurrency,),
            rounds=rounds,
            seed=seed,
        )
    )


def measure_step_time(
    opened: OpenModel,
    axes: Axes,
    predictor: Predictor,
    base: CompressConfig,
    settings: BenchSettings,
    work: Path,
    progress: Progress,
) -> tuple[StepTime, list[str]]:
    """Measure the engine.

    Args:
        opened: the original; its weights are out of memory again when the engine starts.
        axes: of it.
        predictor: of its roofline.
        base: device, dtype and trust of the copies.
        settings: of `step_settings`.
        work: gets copies, exports and logs.
        progress: told about every step.

    Returns:
        And what disturbed the measurement.

    Raises:
        MissingDependencyError: the engine is not installed.
        ModelError: it does not take the model.
        EngineError: it failed.
        OutputError: there is no room for the copies.
    """
    _engine(settings, work).check([])
    candidates = probed(axes)
    paths = [work / f"probe-{number}" for number in range(1, len(candidates))]
    for candidate, path in zip(candidates[1:], paths, strict=True):
        write_without_fits(opened, candidate, axes.dense, base, path, progress)
    found = measure_decode_steps([opened.spec, *map(str, paths)], settings, work, progress)
    first = median(found.seconds[0])
    probes = [
        Probe(
            layers=candidate[LAYERS],
            roofline_seconds=predictor.roofline_seconds(candidate, settings),
            seconds=first / compare_pairs([*found.seconds[0]], [*each], higher_is_better=False).speedup,
        )
        for candidate, each in zip(candidates, found.seconds, strict=True)
    ]
    if found.busy_elsewhere <= BUSY_SHARE:
        return fit_step_time(probes), []
    return fit_step_time(probes), [
        f"other processes used {found.busy_elsewhere:.0%} of this machine while {settings.engine} was "
        "measured: repeat it on a quiet machine"
    ]


def probed(axes: Axes) -> list[Candidate]:
    """The original, about half its widths, about half its layers; what cannot move stays."""
    narrow = axes.dense
    for axis in (MLP, HIDDEN):
        narrow = _halved(axes, narrow, axis)
    return list(dict.fromkeys([axes.dense, narrow, _halved(axes, axes.dense, LAYERS)]))


def _halved(axes: Axes, candidate: Candidate, axis: int) -> Candidate:
    others = [(*candidate[:axis], value, *candidate[axis + 1 :]) for value in axes.values[axis]]
    legal = [other for other in others if axes.is_legal(other)]
    return min(legal, key=lambda other: abs(2 * other[axis] - axes.dense[axis]), default=candidate)


def write_without_fits(
    opened: OpenModel,
    candidate: Candidate,
    own: Candidate,
    base: CompressConfig,
    path: Path,
    progress: Progress,
) -> None:
    """A checkpoint with a candidate's widths and no care for what it says.

    Raises:
        OutputError: it cannot be written.
    """
    plain = CompressConfig(
        mlp_width=0.5,
        calibration=CALIBRATION,
        calibration_windows=CALIBRATION_WINDOWS,
        window_tokens=min(base.window_tokens, WINDOW_TOKENS),
        compensate="none",
        device=base.device,
        dtype=base.dtype,
        seed=base.seed,
        trust_remote_code=base.trust_remote_code,
    )
    save(compress(opened.load(), config_of(candidate, own, plain), progress=progress), path)
    gc.collect()


def measure_decode_steps(
    sources: list[str], settings: BenchSettings, work: Path, progress: Progress
) -> DecodeSteps:
    """Decode steps of models, measured in turn as `dotresize bench` does.

    Args:
        sources: the original first, as `bench` takes them.
        settings: settled, of the latency scenario at one batch size.
        work: gets copies, exports and logs.
        progress: told about every measurement.

    Raises:
        MissingDependencyError: the engine is not installed.
        ModelError: it does not take a model.
        EngineError: a measurement failed.
    """
    models = prepare(sources, settings, work, progress)
    engine = _engine(settings, work)
    engine.check(models)
    by_name = {model.name: model for model in models}
    planned = turns(list(by_name), settings)
    progress.begin(f"measure on {settings.engine}", len(planned))
    found: dict[str, list[Measurement]] = {name: [] for name in by_name}
    for turn in planned:
        found[turn.model] += engine.measure(by_name[turn.model], turn)
        progress.advance()
    busy = [each.busy_elsewhere or 0.0 for measured in found.values() for each in measured]
    return DecodeSteps(
        seconds=tuple(tuple(map(_step_seconds, measured)) for measured in found.values()),
        busy_elsewhere=max(busy),
    )


def _engine(settings: BenchSettings, work: Path) -> VllmOffline | LocalEngine:
    return (VllmOffline if settings.engine == "vllm" else LocalEngine)(settings, work)


def _step_seconds(measurement: Measurement) -> float:
    if measurement.status != "ok":
        raise EngineError(f"{measurement.model}: {measurement.status}: {measurement.error}")
    return median(measurement.samples["tpot_seconds"])


def fit_step_time(probes: Sequence[Probe]) -> StepTime:
    """PURE. The least squares of relative errors; no engine beats the roofline or takes less than no time."""
    scaled = np.array([[one.roofline_seconds, one.layers, 1.0] for one in probes])
    scaled /= np.array([[one.seconds] for one in probes])
    least = min(1.0, 1.0 / scaled[0, 0])  # below 1 only where the original was faster than the roofline
    (more, layer, fixed), _ = nnls(scaled, 1.0 - least * scaled[:, 0])
    factor = least + more
    return StepTime(roofline_factor=float(factor), layer_seconds=float(layer), fixed_seconds=float(fixed))
