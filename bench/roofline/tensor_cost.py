"""What single tensors cost, to which part of a model each belongs, and their sums, for every format."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from ...errors import ManifestError, ModelError
from ...export.contract import manifest
from ...export.contract.manifest import read_if_any
from ..record.results import Part, PartCost

__all__ = ["TensorCost", "part_of", "total", "weights_sha256"]

# The first pattern that is found in a tensor's name decides.
PART_PATTERNS: tuple[tuple[str, Part], ...] = (
    (r"lm_head|embed_out|output_layer", "head"),
    (r"embed|\bwte\b|\bwpe\b", "embedding"),
    (r"norm|\bln_", "norm"),
    (r"attn|attention|cos_cache|sin_cache|inv_freq", "attention"),
    (r"mlp|feed_forward|\bfc[12]\b", "mlp"),
)


@dataclass(frozen=True, kw_only=True)
class TensorCost:
    """One stored tensor."""

    part: Part
    stored_bytes: int
    loaded_bytes: int
    decode_bytes: int
    flops_per_token: float
    parameters: int  # of the model that it stands for; 0 for scales and caches


def part_of(name: str) -> Part:
    """The part that a tensor belongs to, by its name.

    Raises:
        ModelError: No pattern fits.
    """
    for pattern, part in PART_PATTERNS:
        if re.search(pattern, name):
            return part
    raise ModelError(
        f"tensor {name!r} belongs to no part that is known ({', '.join(get_args(Part))}); "
        "expected a Llama or Mistral model, or one that names its tensors alike"
    )


def total(costs: Iterable[TensorCost]) -> dict[Part, PartCost]:
    """Sum over the tensors of each part; a part without tensors costs nothing."""
    listed = list(costs)

    def add(part: Part) -> PartCost:
        mine = [cost for cost in listed if cost.part == part]
        return PartCost(
            weight_bytes=sum(cost.stored_bytes for cost in mine),
            decode_bytes=sum(cost.decode_bytes for cost in mine),
            flops_per_token=sum(cost.flops_per_token for cost in mine),
            loaded_bytes=sum(cost.loaded_bytes for cost in mine),
        )

    return {part: add(part) for part in get_args(Part)}


def weights_sha256(directory: Path, files: list[Path]) -> str:
    """One hash over the weight files; files that the manifest records are not read again.

    Raises:
        ManifestError: A file has another size than recorded.
    """
    record = read_if_any(directory)
    known = record.files if record else {}
    records = []
    for path in files:
        recorded = known.get(path.name)
        if recorded is not None and recorded.bytes != path.stat().st_size:
            raise ManifestError(
                f"{path} has {path.stat().st_size} bytes, its manifest records {recorded.bytes}: "
                "damaged or not finished, make it again"
            )
        records.append((path.name, recorded or manifest.file_record(path)))
    return manifest.digest(records)
