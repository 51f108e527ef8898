"""A dense model to be narrowed: whole in memory, or in its files and read a part at a time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from .families import Family
from .family_rows import family_of
from .report import Source
from .weights import FileWeights, LoadedWeights

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

__all__ = ["Dense", "DenseModel", "StreamedModel"]


@dataclass(frozen=True, kw_only=True)
class DenseModel:
    """A dense model in memory, on the CPU, in the dtype of its weights; float64 as float32."""

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"
    generation_config: "GenerationConfig | None"
    source: Source

    @property
    def family(self) -> Family:
        """The row of the family table.

        Raises:
            ModelError: the family is not supported.
        """
        return family_of(self.source.model_type, self.source.architecture)

    @property
    def skeleton(self) -> "PreTrainedModel":
        """The model for those who ask for its class, config and shapes only."""
        return self.model

    @property
    def config(self) -> "PreTrainedConfig":
        """Its config."""
        config: PreTrainedConfig = self.model.config
        return config

    @property
    def dtype(self) -> torch.dtype:
        """Of its weights."""
        return self.model.dtype

    @property
    def weights(self) -> LoadedWeights:
        """Its weights."""
        return LoadedWeights(self.model)

    @contextmanager
    def whole(self) -> "Iterator[PreTrainedModel]":
        """The model in memory."""
        yield self.model


@dataclass(frozen=True, kw_only=True)
class StreamedModel:
    """A dense model in safetensors files, every weight of which has been looked at once."""

    weights: FileWeights
    tokenizer: "PreTrainedTokenizerBase"
    generation_config: "GenerationConfig | None"
    source: Source
    load: "Callable[[], PreTrainedModel]"

    @property
    def family(self) -> Family:
        """The row of the family table."""
        return family_of(self.source.model_type, self.source.architecture)

    @property
    def skeleton(self) -> "PreTrainedModel":
        """The model without values."""
        return self.weights.hollow

    @property
    def config(self) -> "PreTrainedConfig":
        """Its config."""
        config: PreTrainedConfig = self.weights.hollow.config
        return config

    @property
    def dtype(self) -> torch.dtype:
        """Of its weights, as they are read."""
        return self.weights.hollow.dtype

    @contextmanager
    def whole(self) -> "Iterator[PreTrainedModel]":
        """The model in memory, as long as the block lasts; for what cannot be done a layer at a time."""
        yield self.load()


Dense = DenseModel | StreamedModel
