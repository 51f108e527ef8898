"""A narrow or quantised model and its original -> a LoRA adapter: check, fit, measure, write."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...compress.record.progress import Progress
from ...compress.run import check_inputs, choose_device
from ...compress.text.calibration_windows import calibration_windows
from ...compress.text.self_text import CACHE_FOLDER
from ...compress.weights.source import OpenModel, open_model
from ...errors import InputError, MissingDependencyError, OptionError
from ...export.checkpoint.write import weight_records
from ...export.contract import manifest
from ...export.contract.adaptation import Adaptation
from ...export.contract.calibration import CalibrationOptions
from ...export.contract.manifest import MANIFEST_NAME, Manifest, Provenance
from ...export.disk.licences import copy_licences
from ...export.disk.staging import check_apart, check_free, check_writable, staged_directory
from ...export.for_vllm.quantised_source import QuantisedExport, open_quantised
from ..losses.low_rank import LowRank
from ..models.teacher import check_same_vocabulary
from ..models.trainable import write_adapter
from .fit import fit_adapter

__all__ = ["AdapterConfig", "make_adapter"]

HELD_OUT_EVERY = 8  # one window in so many is kept from the fits, to measure on
VLLM_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # that `vllm serve --max-lora-rank` takes


@dataclass(frozen=True, kw_only=True)
class AdapterConfig(CalibrationOptions):
    """Options of an adapter.

    Attributes:
        rank: of what is added to each matrix.
        calibration: as everywhere, with one window in eight held out; self text is the original's.

    Raises:
        OptionError: a rank below 1, or too few windows to hold one out.
    """

    rank: int = 32
    calibration: tuple[str, ...] = ("builtin",)

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise OptionError(f"--rank is {self.rank}; it must be at least 1.")
        if self.calibration_windows is not None and self.calibration_windows < 2:
            raise OptionError(
                f"--calibration-windows is {self.calibration_windows}; one is held out to measure on, so "
                "give at least 2."
            )
        super().__post_init__()


def make_adapter(
    narrow: str, teacher: str, output: Path, config: AdapterConfig, *, progress: Progress, force: bool = False
) -> Manifest:
    """Fit an adapter and write it as PEFT and vLLM load it.

    Args:
        narrow: what it is added to: as `load_dense` takes it, or a quantised export for vLLM.
        teacher: the original, as `load_dense` takes it.
        output: directory to write.
        config: what to do.
        progress: told about every step.
        force: replace an earlier output.

    Raises:
        InputError: a model, a text or an option cannot be used.
        OutputError: the output is in the way or cannot be written.
    """
    if importlib.util.find_spec("peft") is None:
        raise MissingDependencyError(
            "an adapter is written by PEFT, which is not installed; run `pip install dotresize[recover]`"
        )
    check_free(output, force=force)
    check_writable(output)
    original, base = open_model(teacher), open_quantised(narrow) or open_model(narrow)
    check_apart(output, [original.path, base.path])
    _check_together(original, base)
    check_inputs(original, config.texts)
    device = choose_device(config.device)
    dense = original.load()
    cache = output.absolute().parent / CACHE_FOLDER
    drawn = calibration_windows(config.texts, dense, device, progress, cache)
    windows = len(drawn.token_ids)
    if windows < 2:
        raise OptionError("the calibration holds one window, and one is held out; give more text.")
    held = max(1, windows // HELD_OUT_EVERY)
    small = base.load()
    changes = fit_adapter(dense, small, drawn.token_ids[:-held], config.rank, device, progress)
    model = _with_changes(small.model, changes, config.rank)
    before, after = _divergences(dense.model, model, drawn.token_ids[-held:], device, progress)
    record = manifest.read(base.path) if (base.path / MANIFEST_NAME).is_file() else None
    adaptation = Adaptation(
        base=small.source.name,
        base_sha256=small.source.sha256,
        teacher=dense.source.name,
        teacher_sha256=dense.source.sha256,
        rank=config.rank,
        matrices=len(changes),
        calibration=drawn.record,
        held_out_windows=held,
        held_out_kl_before=before,
        held_out_kl=after,
    )
    return _written(model, narrow, base.path, record, adaptation, output, force=force)


def _check_together(teacher: OpenModel, narrow: OpenModel | QuantisedExport) -> None:
    name = narrow.path.name
    check_same_vocabulary(teacher.tokenizer, narrow.tokenizer, (teacher.spec, name))
    depths = teacher.config.num_hidden_layers, narrow.config.num_hidden_layers
    if depths[0] != depths[1]:
        raise InputError(
            f"{name} has {depths[1]} layers and {teacher.spec} has {depths[0]}; an adapter is fitted layer "
            "by layer, so expected as many. Use `dotresize recover --train lora --keep-adapter`."
        )


def _with_changes(model: Any, changes: dict[str, LowRank], rank: int) -> Any:
    """The model, wrapped by PEFT, with every change as an adapter."""
    from peft import LoraConfig, get_peft_model

    targets = sorted({path.rpartition(".")[2] for path in changes})
    settings = LoraConfig(r=rank, lora_alpha=rank, target_modules=targets, task_type="CAUSAL_LM")
    wrapped: Any = get_peft_model(model.float(), settings)
    inside = wrapped.base_model.model
    for path, change in changes.items():
        layer: Any = inside.get_submodule(path)
        layer.lora_A["default"].weight.data.copy_(change.down)
        layer.lora_B["default"].weight.data.copy_(change.up)
    return wrapped.eval()


@torch.no_grad()
def _divergences(
    teacher: Any, model: Any, windows: Tensor, device: torch.device, progress: Progress
) -> tuple[float, float]:
    """Mean KL(teacher || model) in nats per token without and with the adapter, on windows (w, t)."""
    teacher, model = teacher.float().to(device), model.to(device)
    sums = torch.zeros(2, dtype=torch.float64)
    progress.begin("measure on held-out text", len(windows))
    for window in windows.to(device)[:, None]:
        wanted = teacher(window).logits.float().log_softmax(-1)
        with model.disable_adapter():
            plain = model(window).logits.float().log_softmax(-1)
        for place, found in enumerate((plain, model(window).logits.float().log_softmax(-1))):
            sums[place] += float((wanted.exp() * (wanted - found)).sum(-1).mean())
        progress.advance()
    before, after = (sums / len(windows)).tolist()
    return before, after


def _written(
    model: Any,
    base: str,
    directory: Path,
    record: Manifest | None,
    adaptation: Adaptation,
    output: Path,
    *,
    force: bool,
) -> Manifest:
    rank = next((each for each in VLLM_RANKS if each >= adaptation.rank), adaptation.rank)
    where = str(Path(base).resolve()) if Path(base).is_dir() else base
    readme = (
        f"# An adapter for `{adaptation.base}`\n\nOf rank {adaptation.rank}, fitted in closed form to what "
        f"the model lacks of `{adaptation.teacher}`; it belongs to the weights with SHA-256 "
        f"`{adaptation.base_sha256}` and to no others. On {adaptation.held_out_windows} held-out windows it "
        f"takes the KL to the original from {adaptation.held_out_kl_before:.4f} to "
        f"{adaptation.held_out_kl:.4f} nats per token.\n\n"
        f"    vllm serve {where} --enable-lora --max-lora-rank {rank} "
        "--lora-modules adapted=THIS_FOLDER\n"
    )
    with staged_directory(output, force=force) as temporary:
        write_adapter(model.to("cpu"), temporary, base=where, readme=readme)
        copy_licences(directory, temporary)
        source = None
        if record is not None:
            source = Provenance(
                format=record.format, precision=record.precision, manifest_sha256=record.sha256
            )
        written = Manifest(
            format="adapter",
            precision="float32",
            report=None if record is None else record.report,
            source=source,
            adaptation=adaptation,
            files=weight_records(temporary),
            reference=None,
        )
        manifest.write(written, temporary)
    return written
