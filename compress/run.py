"""The recipe: load, draw, plan, survey, narrow layer by layer, assemble."""

import resource
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ..errors import OptionError
from .basis import Basis, residual_basis
from .calibration import Windows, check_texts, draw_windows
from .call_arguments import call_arguments
from .config import CompressConfig, Settings
from .depth import layers_that_stay
from .guards import check_finite
from .identity import identity_of, versions
from .job import Job
from .narrow import narrow_tensors
from .plan import Plan, make_plan
from .progress import Progress, Silent, Stopwatch
from .report import BlockFit, Cost, Report
from .resume import WorkDirectory
from .self_text import CACHE_FOLDER, SelfText
from .sizes import count_sizes
from .source import DenseModel, OpenModel, open_model
from .surgery import assemble
from .survey import survey_stream

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["CompressResult", "check_inputs", "choose_device", "compress"]


@dataclass(frozen=True, kw_only=True)
class CompressResult:
    """A narrow model in memory: stock class, CPU, in the dtype that will be stored."""

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    generation_config: "GenerationConfig | None"
    report: Report
    cost: Cost


@torch.no_grad()
def compress(
    model: "str | Path | DenseModel",
    config: CompressConfig,
    *,
    progress: Progress | None = None,
    work: WorkDirectory | None = None,
) -> CompressResult:
    """Narrow a model.

    Args:
        model: what `load_dense` takes (directory as a path or its name, hub id, .gguf file,
            `demo:smollm2-135m`) or gives.
        config: what to do.
        progress: told about every step; silent by default.
        work: keeps finished layers, so that the same call resumes after an interrupt. It is left as it is:
            call its `discard` when the result is safe.

    Raises:
        InputError: the model, the text, a width or an option cannot be used.
        ConvergenceError: a transport plan did not converge.
    """
    progress, watch, work = progress or Silent(), Stopwatch(), work or WorkDirectory(None)
    settings, device = config.settings(), choose_device(config.device)
    with watch.measure("load"):
        dense = _checked_and_loaded(str(model), config) if isinstance(model, str | Path) else model
        plan = make_plan(dense.model.config, dense.family, config)
    with watch.measure("calibration text"):
        windows = calibration_windows(config, dense, device, progress, _cache_beside(work))
    dtype = dense.model.dtype if settings.dtype == "auto" else getattr(torch, settings.dtype)
    work.begin(identity_of(dense, settings, windows, dtype, device))
    arguments = call_arguments(dense.model, dense.family, windows.token_ids.shape[1], device)
    with watch.measure("survey"):
        basis, plan = _survey(dense, plan, settings, windows, arguments, device, work, progress)
    job = Job.of(
        basis,
        device=device,
        family=dense.family,
        dense_config=dense.model.config,
        plan=plan,
        config=settings,
        windows=len(windows.token_ids),
        tokens=windows.token_ids.numel(),
        stored_dtype=dtype,
        progress=progress,
    )
    with watch.measure("narrow"):
        state, fits = narrow_tensors(job, dense, windows.token_ids, arguments, work)
        for fit in fits:
            check_finite(f"layer {fit.layer}, {fit.site}", torch.tensor([fit.error_before, fit.error_after]))
    with watch.measure("assemble"):
        narrow = assemble(plan.narrow_config, state, plan.narrow_family, dtype)
        if dense.generation_config is not None:
            narrow.generation_config = dense.generation_config
    return CompressResult(
        model=narrow,
        tokenizer=dense.tokenizer,
        generation_config=dense.generation_config,
        report=_report(dense, plan, settings, windows, fits, dtype),
        cost=_cost(watch, device),
    )


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


def _checked_and_loaded(spec: str, config: CompressConfig) -> DenseModel:
    opened = open_model(spec, trust_remote_code=config.trust_remote_code)
    check_inputs(opened, config)
    return opened.load()


def _survey(
    dense: DenseModel,
    plan: Plan,
    config: Settings,
    windows: Windows,
    arguments: list[list[dict[str, Any]]],
    device: torch.device,
    work: WorkDirectory,
    progress: Progress,
) -> tuple[Basis | None, Plan]:
    """The residual basis, None when it stays, and the plan with the layers that stay.

    They come from disk when an earlier run got that far.
    """
    if not plan.changes_basis and not plan.drops_layers:
        return None, plan
    kept = work.load("basis")
    if kept is not None:
        tensors, layers = kept
        basis = Basis(tensors["project"].numpy(), tensors["expand"].numpy(), None) if tensors else None
        return basis, plan.keeping(tuple(layers))
    survey = survey_stream(dense, windows.token_ids, arguments, device, progress)
    basis = None
    if plan.changes_basis:
        basis = residual_basis(
            survey.moment.numpy(),
            plan.narrow.hidden_size,
            method=config.method,
            reg=config.reg,
            signed=config.signed,
            zero_sum=dense.family.norm_kind == "layer",
        )
    if plan.drops_layers:
        plan = plan.keeping(layers_that_stay(survey.influence, plan.narrow.num_hidden_layers))
    names = () if basis is None else ("project", "expand")
    tensors = {name: torch.from_numpy(getattr(basis, name)) for name in names}
    work.store("basis", tensors, list(plan.kept_layers))
    return basis, plan


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


def calibration_windows(
    config: CompressConfig,
    dense: DenseModel,
    device: torch.device,
    progress: Progress | None = None,
    cache: Path | None = None,
) -> Windows:
    """The calibration tokens that a configuration asks for.

    Args:
        config: names the texts.
        dense: the model, which writes self text where that is among them.
        device: where it writes.
        progress: told about every text that it writes.
        cache: a directory that keeps self text, or None.

    Raises:
        TextError: a text cannot be read or is too short.
        ModelError: the model cannot write.
    """
    progress = progress or Silent()
    writer = SelfText(dense=dense, device=device, seed=config.seed, cache=cache, progress=progress)
    return draw_windows(
        config.calibration,
        dense.tokenizer,
        windows=config.calibration_windows,
        window_tokens=config.window_tokens,
        seed=config.seed,
        self_text=writer.documents,
    )


def _cache_beside(work: WorkDirectory) -> Path | None:
    return None if work.path is None else work.path.absolute().parent / CACHE_FOLDER


def _report(
    dense: DenseModel,
    plan: Plan,
    config: Settings,
    windows: Windows,
    fits: tuple[BlockFit, ...],
    dtype: torch.dtype,
) -> Report:
    notes = list(plan.notes)
    if config.calibration_windows is None and windows.record.windows < 128:
        held = f"the calibration text holds {windows.available} windows, all were used"
        scarce = f"the calibration texts allow {windows.record.windows} windows at these shares"
        notes.append(held if len(windows.record.parts) == 1 else scarce)
    if plan.dense_tied and not plan.narrow_config.tie_word_embeddings:
        notes.append("the head was tied to the embedding; it is stored on its own now")
    return Report(
        source=dense.source,
        config=config.to_dict(),
        dense=plan.dense,
        narrow=plan.narrow,
        kept_layers=plan.kept_layers if plan.drops_layers else None,
        dense_counts=count_sizes(dense.model.config, dense.family, dtype),
        narrow_counts=count_sizes(plan.narrow_config, plan.narrow_family, dtype),
        calibration=windows.record,
        fits=fits,
        notes=tuple(notes),
        versions=versions(),
    )


def _cost(watch: Stopwatch, device: torch.device) -> Cost:
    return Cost(
        seconds=watch.seconds,
        peak_memory_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        peak_device_memory_bytes=torch.cuda.max_memory_allocated() if device.type == "cuda" else None,
        device=torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
    )
