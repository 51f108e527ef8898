"""What the roofline has to know of a model, whether it exists or is only planned."""

from collections.abc import Mapping
from typing import Protocol

from ..record.results import Part, PartCost, Phase

__all__ = ["ModelWork", "head_rows"]


class ModelWork(Protocol):
    """The sizes that decide how long a pass takes: of a `BenchModel`, or of a candidate of `plan`."""

    @property
    def name(self) -> str:
        """Unique in the run."""
        ...

    @property
    def num_hidden_layers(self) -> int:
        """Layers."""
        ...

    @property
    def num_attention_heads(self) -> int:
        """Query heads of a layer."""
        ...

    @property
    def head_dim(self) -> int:
        """Numbers in a head."""
        ...

    @property
    def kv_bytes_per_token(self) -> int:
        """Keys and values of one token in all layers."""
        ...

    @property
    def parts(self) -> Mapping[Part, PartCost]:
        """The cost of every part."""
        ...

    @property
    def head_every_position(self) -> bool:
        """Whether a prefill computes logits for all positions, not the last one alone."""
        ...


def head_rows(model: ModelWork, phase: Phase, batch_size: int, input_tokens: int) -> int:
    """Positions for which logits are computed: the last of each sequence, unless the graph takes all."""
    return batch_size * (input_tokens if phase == "prefill" and model.head_every_position else 1)
