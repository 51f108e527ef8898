"""`dotresize adapter`: what a narrow or quantised model lacks of its original, as a LoRA adapter."""

from typing import Annotated

import typer

from .options.groups import grouped
from .options.run import Device, Force, Json, Output, Seed
from .options.texts import CalibrationOptions
from .options.training import Rank, Teacher
from .printed.output import emit, quiet_libraries, styled

__all__ = ["adapter"]


@grouped
def adapter(
    narrow: Annotated[str, typer.Argument(help="A narrowed checkpoint, or a quantised export for vLLM.")],
    teacher: Teacher,
    output: Output,
    texts: CalibrationOptions,
    rank: Rank = 32,
    device: Device = "auto",
    seed: Seed = 42,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Fit a LoRA adapter in closed form, which PEFT and vLLM (--lora-modules) add to NARROW.

    It repairs what a few ranks can of the error of each matrix that reads or writes the residual stream.
    """
    quiet_libraries()
    from ..recover.adapters.adapter import AdapterConfig, make_adapter
    from .printed.progress import ProgressBar

    config = AdapterConfig(rank=rank, device=device, seed=seed, **texts.chosen())
    with ProgressBar() as progress:
        record = make_adapter(narrow, teacher, output, config, progress=progress, force=force)
    found = record.adaptation
    assert found is not None
    written_bytes = sum(entry.bytes for entry in record.files.values())
    data = {
        "output": str(output),
        "rank": found.rank,
        "matrices": found.matrices,
        "bytes": written_bytes,
        "held_out_kl_before": found.held_out_kl_before,
        "held_out_kl": found.held_out_kl,
    }
    line = styled(str(output), "bold", f": rank {found.rank} on {found.matrices} matrices, ")
    outcome = (
        f"{written_bytes / 1e6:,.1f} MB; KL on {found.held_out_windows} held-out windows "
        f"{found.held_out_kl_before:.4f} -> {found.held_out_kl:.4f} nats per token"
    )
    emit(data, line + outcome, as_json=as_json)
