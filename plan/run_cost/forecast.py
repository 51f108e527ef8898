"""What a compression will give and take, from the config alone: no weight is read."""

from dataclasses import asdict, dataclass
from typing import Any

import psutil
import torch

from ...bench.roofline.compress_cost import peak_bytes, streamed_peak_bytes
from ...compress.layers.fisher import felt_by
from ...compress.record.config import STREAM_ITEM_BYTES, CompressConfig
from ...compress.record.report import Counts, Widths
from ...compress.run import choose_device
from ...compress.streams.memory import default_stream_bytes
from ...compress.text.calibration import DEFAULT_WINDOWS, check_texts, draw_windows
from ...compress.text.mixture import SELF, mixture_of
from ...compress.weights.files import read_headers
from ...compress.weights.source import OpenModel
from ...compress.widths.plan import Plan, make_plan
from ...compress.widths.sizes import count_sizes
from .rates import watched_rates
from .work import Rates, compression_work, seconds_of_work

__all__ = [
    "Forecast",
    "PlannedSizes",
    "RunCost",
    "calibration_tokens",
    "forecast",
    "planned_sizes",
    "resident_bytes",
    "run_cost",
    "stored_dtype",
]

_STORED = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}


@dataclass(frozen=True, kw_only=True)
class RunCost:
    """What a run takes."""

    seconds: float  # of survey and fits on this machine, at the rates that were measured
    peak_memory_bytes: int  # resident, of the whole process
    output_bytes: int  # weights that are written
    disk_bytes: int  # at most, with finished layers where they wait beside the output
    calibration_tokens: int


@dataclass(frozen=True, kw_only=True)
class PlannedSizes:
    """Of the original and of what will be written."""

    dense: Widths
    narrow: Widths
    dense_counts: Counts
    narrow_counts: Counts


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """A compression that has not been done."""

    sizes: PlannedSizes
    cost: RunCost
    device: str
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready dictionary."""
        return asdict(self)


def forecast(opened: OpenModel, config: CompressConfig, rates: Rates | None = None) -> Forecast:
    """Predict sizes, memory, disk and time of a compression.

    Args:
        opened: the model without its weights.
        config: what would be done.
        rates: of this machine; measured in a few seconds when None, with a note where others disturbed it.

    Raises:
        InputError: what `compress` would refuse.
    """
    config.settings()
    plan, device = make_plan(opened.config, opened.family, config), choose_device(config.device)
    tokens = calibration_tokens(config, opened)
    notes = list(plan.notes)
    if plan.dense_tied and not plan.narrow_config.tie_word_embeddings:
        notes.append("the head is tied to the embedding now; it will be stored on its own")
    if any(part.spec == SELF for part in mixture_of(_texts(config))):
        notes.append("the model writes a part of the text first; that time is not in the prediction")
    sizes = planned_sizes(opened, plan, config)
    if rates is None:
        rates, disturbed = watched_rates(plan.dense, device)
        notes += disturbed
    cost = run_cost(opened, plan, config, sizes, tokens=tokens, rates=rates, base_bytes=resident_bytes())
    return Forecast(sizes=sizes, cost=cost, device=device.type, notes=tuple(notes))


def resident_bytes() -> int:
    """What this process holds now."""
    return int(psutil.Process().memory_info().rss)


def planned_sizes(opened: OpenModel, plan: Plan, config: CompressConfig) -> PlannedSizes:
    """Counted on the meta device, in the dtype that would be stored."""
    dtype = stored_dtype(opened, config)
    plan = plan.keeping(tuple(range(plan.narrow.num_hidden_layers)))  # which ones stay decides no size
    return PlannedSizes(
        dense=plan.dense,
        narrow=plan.narrow,
        dense_counts=count_sizes(opened.config, opened.family, dtype),
        narrow_counts=count_sizes(plan.narrow_config, plan.narrow_family, dtype),
    )


def run_cost(
    opened: OpenModel,
    plan: Plan,
    config: CompressConfig,
    sizes: PlannedSizes,
    *,
    tokens: int,
    rates: Rates,
    base_bytes: int,
) -> RunCost:
    """Time, memory and disk of a run.

    Args:
        opened: the model.
        plan: its new widths.
        config: what would be done.
        sizes: of both models.
        tokens: of the calibration.
        rates: of this machine.
        base_bytes: resident with all libraries and without a weight.
    """
    settings, counts = config.settings(), sizes.narrow_counts
    active = getattr(opened.config, "num_experts_per_tok", None) or 1
    work = compression_work(plan, settings, tokens=tokens, window_tokens=config.window_tokens, active=active)
    return RunCost(
        seconds=seconds_of_work(work, rates),
        peak_memory_bytes=_peak_bytes(opened, plan, sizes, tokens, config, base_bytes),
        output_bytes=counts.weight_bytes,
        disk_bytes=counts.weight_bytes + (0 if plan.narrow_family.stored_as_named else counts.layer_bytes),
        calibration_tokens=tokens,
    )


def calibration_tokens(config: CompressConfig, opened: OpenModel) -> int:
    """How many tokens the fits will see; self text counts as long as it was asked for.

    Raises:
        OptionError: shares that cannot be.
        TextError: a text is missing or too short.
    """
    how: dict[str, Any] = {
        "windows": config.calibration_windows,
        "window_tokens": config.window_tokens,
        "seed": config.seed,
    }
    specs = _texts(config)
    if any(part.spec == SELF for part in mixture_of(specs)):
        check_texts(specs, opened.tokenizer, **how)
        return (config.calibration_windows or DEFAULT_WINDOWS) * config.window_tokens
    return draw_windows(specs, opened.tokenizer, **how).record.tokens


def _texts(config: CompressConfig) -> list[str]:
    return [config.calibration] if isinstance(config.calibration, str) else list(config.calibration)


def _peak_bytes(
    opened: OpenModel, plan: Plan, sizes: PlannedSizes, tokens: int, config: CompressConfig, base_bytes: int
) -> int:
    """Of a model that is written part by part, read so or loaded, or of one that is whole in memory."""
    in_files = opened.family.stored_as_named and all(file.suffix == ".safetensors" for file in opened.files)
    settings, window = config.settings(), config.window_tokens
    felt = None
    if plan.chooses_inside(plan.family.mlp):
        felt = felt_by(settings.mlp_method, tokens // window, window)
    how: dict[str, Any] = {
        "tokens": tokens,
        "compensate": settings.compensate,
        "felt": felt,
        "stream_item_bytes": STREAM_ITEM_BYTES[settings.stream_dtype],
    }
    by_parts = plan.narrow_family.stored_as_named
    base_bytes += 0 if in_files and by_parts else loaded_bytes(opened)
    if by_parts:
        return streamed_peak_bytes(sizes, **how, base_bytes=base_bytes, stream_bytes=default_stream_bytes())
    return peak_bytes(sizes, **how, base_bytes=base_bytes)


def loaded_bytes(opened: OpenModel) -> int:
    """The dense weights in memory."""
    return count_sizes(opened.config, opened.family, _source_dtype(opened)).weight_bytes


def stored_dtype(opened: OpenModel, config: CompressConfig) -> torch.dtype:
    """Of the weights that would be written."""
    found: torch.dtype = _source_dtype(opened) if config.dtype == "auto" else getattr(torch, config.dtype)
    return found


def _source_dtype(opened: OpenModel) -> torch.dtype:
    """Of the weights once they are loaded: what the config says, else what the first file holds."""
    if opened.located.gguf_file:
        return torch.float32  # dequantised
    named = getattr(opened.config, "dtype", None)
    found = getattr(torch, named) if isinstance(named, str) else named
    if found is None:
        kinds = (_STORED.get(header.dtype) for header in read_headers(opened.files).values())
        found = next((kind for kind in kinds if kind is not None), torch.float32)
    return torch.float32 if found == torch.float64 else found
