"""plan.json: what was chosen for which budget, and what it was expected to be."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..compress.families.family import Axis
from ..compress.record.report import Widths
from ..errors import InputError, OutputError
from ..export.disk.outputs import clean_up
from ..export.disk.staging import write_atomically
from ..json_files import read_json, validated
from .axes import AXES, FIELDS, OPTIONS, Candidate, moved_axes
from .budget import Budget
from .hardware import StepTime
from .prediction import Predicted
from .run_cost.forecast import RunCost

__all__ = [
    "SCHEMA_VERSION",
    "PlanRecord",
    "Point",
    "Quality",
    "check_plan_fits",
    "check_plan_free",
    "read_plan",
    "write_plan",
]

SCHEMA_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Quality:
    """How much a candidate loses, as far as it was looked at."""

    proxy: float  # of plan/proxy.py; ranks candidates of one model
    kl_nats_per_token: float | None = None  # mean over the texts, of a quick fit; None: not measured
    perplexity_ratio: float | None = None  # to the original, of the same fit; geometric mean over the texts
    windows: int = 0  # of each text that it was measured on


@dataclass(frozen=True, kw_only=True)
class Point:
    """One candidate."""

    widths: dict[Axis, int]
    predicted: Predicted
    quality: Quality

    @property
    def candidate(self) -> Candidate:
        """Its values in the order of AXES."""
        return tuple(self.widths[axis] for axis in AXES)

    @property
    def loss(self) -> float:
        """As measured, else by the proxy; the two do not compare."""
        measured = self.quality.kl_nats_per_token
        return self.quality.proxy if measured is None else measured


@dataclass(frozen=True, kw_only=True)
class PlanRecord:
    """A plan as it is written."""

    dotresize_plan: int = SCHEMA_VERSION
    tool_version: str
    model: str  # what the user named
    architecture: str
    dense: Widths
    budget: Budget
    dtype: str  # of the weights that are counted
    engine: str
    speed_of: str | None  # whose rates the speed-up was predicted with
    speed_origin: str | None  # "measured here", or "data sheet, not measured: ..."
    step: StepTime | None = None  # of the engine as measured; None: the speed-up is the roofline's
    effort: str
    quality_floor: float | None = None  # perplexity ratio to the original that was asked for, at most
    asked: str = ""  # a hash of model and settings: who asks for the same again need not search
    evaluations: int  # compressions that were measured
    per_layer: list[Axis] = field(default_factory=list)  # axes on which the engine takes uneven layers
    uniform_because: str = ""  # why not all
    original: Predicted
    chosen: Point
    single_axes: list[Point]  # the best of each axis alone at the same budget
    front: list[Point]  # every point that no other beats in size, speed and loss
    cost: RunCost  # of compressing the chosen point
    notes: list[str] = field(default_factory=list)  # on that cost, and on the speed

    @property
    def own(self) -> dict[Axis, int]:
        """The original's values."""
        return {axis: int(getattr(self.dense, FIELDS[axis])) for axis in AXES}

    @property
    def options(self) -> dict[str, int]:
        """Those of `CompressConfig` that give the chosen widths; what stays is left out.

        Raises:
            InputError: the plan changes no width.
        """
        changed = self.moved(self.chosen)
        if not changed:
            raise InputError(f"the plan for {self.model} changes no width; make another plan.")
        return {OPTIONS[axis]: self.chosen.widths[axis] for axis in changed}

    def moved(self, point: Point) -> tuple[Axis, ...]:
        """The axes on which a point differs from the original."""
        return moved_axes(point.candidate, tuple(self.own.values()))


def check_plan_free(path: Path, *, force: bool) -> None:
    """Refuse a file that is in the way; `force` replaces plans only.

    Raises:
        OutputError: it exists, or is no plan.
    """
    clean_up(path)
    if not os.path.lexists(path):
        return
    if not force:
        raise OutputError(f"{path} already exists; choose another output, or replace it with --force")
    try:
        read_plan(path)
    except InputError as error:
        raise OutputError(f"--force replaces only plans, and {error}") from error


def write_plan(record: PlanRecord, path: Path, *, force: bool) -> None:
    """Write the file; it appears complete or not at all.

    Raises:
        OutputError: it exists, or cannot be written.
    """
    check_plan_free(path, force=force)
    write_atomically(path, json.dumps(asdict(record), indent=1, allow_nan=False) + "\n")


def read_plan(path: Path) -> PlanRecord:
    """Inverse of `write_plan`.

    Raises:
        InputError: it is not there, no plan, of a newer schema, or damaged.
    """
    data = read_json(path, InputError)
    version = data.get("dotresize_plan") if isinstance(data, dict) else None
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise InputError(f"{path} is no plan; expected what `dotresize plan` wrote")
    if version > SCHEMA_VERSION:
        raise InputError(
            f"{path} has plan schema {version}, newer than {SCHEMA_VERSION}, which this dotresize reads; "
            "upgrade dotresize"
        )
    record = validated(PlanRecord, data, f"{path} (plan schema {version})", InputError)
    if set(record.chosen.widths) != set(AXES):
        raise InputError(f"{path} is damaged at chosen.widths: expected {', '.join(AXES)}")
    return record


def check_plan_fits(record: PlanRecord, dense: Widths, architecture: str) -> None:
    """Refuse a plan that was made for a model of other widths, or of another family.

    Raises:
        InputError: it was.
    """
    if record.architecture != architecture:
        raise InputError(
            f"the plan was made for {record.model}, a {record.architecture}; this model is a {architecture}. "
            "Make a plan of this model."
        )
    for name, planned in vars(record.dense).items():
        if planned != getattr(dense, name):
            raise InputError(
                f"the plan was made for {record.model}, whose {name} is {planned}; this model's is "
                f"{getattr(dense, name)}. Make a plan of this model."
            )
