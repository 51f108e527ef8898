"""The recipe: load, draw, plan, survey, narrow layer by layer, assemble."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from ..errors import ModelError, OptionError
from .account import cost_of, report_of
from .families.call_arguments import call_arguments
from .families.family import Family
from .families.surgery import assemble
from .first_look import FirstLook, Looks, basis_and_layers, felt_by_the_loss
from .identity import identity_of
from .layers.job import Job
from .layers.narrow import narrow_tensors
from .layers.rounded_sites import Rounding
from .maths.guards import check_finite
from .output.resume import WorkDirectory
from .record.config import CompressConfig
from .record.progress import Progress, Silent, Stopwatch
from .record.report import Cost, Report
from .streams.ranks import Ranks
from .streams.sink import MemorySink, SharedSink, Sink
from .streams.stream import StreamRoom
from .text.calibration import check_texts
from .text.calibration_windows import windows_of_first
from .weights.dense import Dense
from .weights.source import OpenModel, open_model
from .widths.plan import Plan, make_plan

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

__all__ = [
    "CompressResult",
    "Narrowed",
    "assembled",
    "check_inputs",
    "choose_device",
    "compress",
    "narrow_into",
]


@dataclass(frozen=True, kw_only=True)
class CompressResult:
    """A narrow model in memory: stock class, CPU, in the dtype that will be stored."""

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    generation_config: "GenerationConfig | None"
    report: Report
    cost: Cost


class Narrowed(NamedTuple):
    """What is known of a narrow model beside its tensors, which are in a sink."""

    plan: Plan
    dtype: torch.dtype
    report: Report
    watch: Stopwatch
    device: torch.device

    @property
    def cost(self) -> Cost:
        """What it took so far."""
        return cost_of(self.watch, self.device)


@torch.no_grad()
def compress(
    model: "str | Path | Dense",
    config: CompressConfig,
    *,
    progress: Progress | None = None,
    work: WorkDirectory | None = None,
    looks: Looks | None = None,
) -> CompressResult:
    """Narrow a model, and return it in memory. The command line writes it part by part instead.

    Args:
        model: what `load_dense` takes (directory as a path or its name, hub id, .gguf file,
            `demo:smollm2-135m`) or gives.
        config: what to do.
        progress: told about every step; silent by default.
        work: keeps finished layers, so that the same call resumes after an interrupt. It is left as it is:
            call its `discard` when the result is safe.
        looks: passes over this very model that earlier calls made; this one adds its own.

    Raises:
        InputError: the model, the text, a width or an option cannot be used.
        ConvergenceError: a transport plan did not converge.
    """
    work, watch = work or WorkDirectory(None), Stopwatch()
    with watch.measure("load"):
        dense = _checked_and_opened(str(model), config) if isinstance(model, str | Path) else model
    sink = MemorySink(work)
    found = narrow_into(
        lambda *_: sink,
        dense,
        config,
        progress=progress,
        work=work,
        watch=watch,
        room=StreamRoom(),
        looks=looks,
    )
    return assembled(dense, found, sink.state)


def assembled(dense: Dense, found: Narrowed, state: dict[str, Tensor]) -> CompressResult:
    """The narrow model in memory, from all of its tensors."""
    with found.watch.measure("assemble"):
        narrow = assemble(found.plan.narrow_config, state, found.plan.narrow_family, found.dtype)
        if dense.generation_config is not None:
            narrow.generation_config = dense.generation_config
    return CompressResult(
        model=narrow,
        tokenizer=dense.tokenizer,
        generation_config=dense.generation_config,
        report=found.report,
        cost=found.cost,
    )


@torch.no_grad()
def narrow_into(
    open_sink: "Callable[[PreTrainedConfig, Family, torch.dtype], Sink]",
    dense: Dense,
    config: CompressConfig,
    *,
    progress: Progress | None,
    work: WorkDirectory,
    watch: Stopwatch,
    room: StreamRoom,
    ranks: Ranks | None = None,
    rounding: Rounding | None = None,
    looks: Looks | None = None,
) -> Narrowed:
    """Narrow a model into a sink.

    Args:
        open_sink: gives one for the narrow model's config, family and dtype, once it is known what the work
            directory may hold.
        dense: the model; it is only read.
        config: what to do.
        progress: told about every step; silent by default.
        work: keeps what a later run may go on from.
        watch: measures the steps.
        room: where residual streams are put.
        ranks: the processes that do it together, each with the same arguments; all but the first have a work
            directory without a path, and their sink is not opened.
        rounding: puts every linear layer on a grid, where later fits see it, and gets the scales. One process
            can do it, without a work directory.
        looks: passes over this very model that earlier calls of one process made; this one adds its own.

    Raises:
        InputError: the text, a width or an option cannot be used.
        ConvergenceError: a transport plan did not converge.
        EngineError: another process has ended.
    """
    ranks = ranks or Ranks()
    progress, settings, device = progress or Silent(), config.settings(), choose_device(config.device)
    plan = make_plan(dense.config, dense.family, config)
    room = replace(room, dtype=getattr(torch, settings.stream_dtype))
    _check_same(dense, ranks)
    with watch.measure("calibration text"):
        windows = windows_of_first(config, dense, device, progress, work, ranks)
        ranks.check(*windows.token_ids.shape)
    dtype = dense.dtype if settings.dtype == "auto" else getattr(torch, settings.dtype)
    if ranks.is_first:
        work.begin(identity_of(dense, settings, windows, dtype, device))
    arguments = call_arguments(dense.skeleton, dense.family, windows.token_ids.shape[1], device)
    with watch.measure("survey"):
        kept = looks or Looks()
        look = FirstLook(dense, settings, windows, arguments, device, work, progress, room, ranks, kept)
        basis, plan = basis_and_layers(plan, look)
        fisher = felt_by_the_loss(plan, look)
    job = Job.of(
        basis,
        device=device,
        family=dense.family,
        dense_config=dense.config,
        plan=plan,
        config=settings,
        windows=len(windows.token_ids),
        tokens=windows.token_ids.numel(),
        stored_dtype=dtype,
        progress=progress,
        ranks=ranks,
        rounding=rounding,
        fisher=fisher,
    )
    ranks.check(job.windows - job.held_windows, windows.token_ids.shape[1])
    with watch.measure("narrow"):
        own = open_sink(plan.narrow_config, plan.narrow_family, dtype) if ranks.is_first else None
        sink = SharedSink(own, ranks)
        fits = narrow_tensors(job, dense, windows.token_ids, arguments, sink, room)
        for fit in fits:
            check_finite(f"layer {fit.layer}, {fit.site}", torch.tensor([fit.error_before, fit.error_after]))
    report = report_of(dense, plan, settings, windows, fits, dtype)
    return Narrowed(plan=plan, dtype=dtype, report=report, watch=watch, device=device)


def check_inputs(opened: OpenModel, config: CompressConfig) -> None:
    """Refuse, before a weight is read, what `compress` would refuse after it.

    Raises:
        InputError: a width, the device, the calibration text or an option cannot be used.
    """
    config.settings()
    choose_device(config.device)
    make_plan(opened.config, opened.family, config)
    check_texts(
        config.calibration,
        opened.tokenizer,
        windows=config.calibration_windows,
        window_tokens=config.window_tokens,
        seed=config.seed,
    )


def _checked_and_opened(spec: str, config: CompressConfig) -> Dense:
    opened = open_model(spec, trust_remote_code=config.trust_remote_code)
    check_inputs(opened, config)
    return opened.stream()


def choose_device(name: str) -> torch.device:
    """The device that `auto`, `cpu` or `cuda` means here.

    Raises:
        OptionError: CUDA was asked for and there is none, or the name is another.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise OptionError(f"device is {name!r}; choose one of auto, cpu, cuda.")
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise OptionError(
            "device cuda was asked for, but torch sees no CUDA device; use --device cpu or auto."
        )
    return torch.device("cuda" if available and name != "cpu" else "cpu")


def _check_same(dense: Dense, ranks: Ranks) -> None:
    """Refuse to share windows with a process that reads other weights, such as an older copy elsewhere."""
    found = ranks.item(({}, dense.source.sha256))
    if found is not None and dense.source.sha256 not in ("", found[1]):
        raise ModelError(
            f"process {ranks.number} reads other weights of {dense.source.name} than the first one; give "
            "every machine the same files."
        )
