"""A dense model to be narrowed: whole in memory, or in its files and read a part at a time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from ..families.family import Family
from ..families.rows import family_of
from ..record.report import Source
from .parts import FileWeights, LoadedWeights

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
    def whole(self, dtype: torch.dtype | None = None) -> "Iterator[PreTrainedModel]":
        """The model in memory; a copy where another dtype is asked for."""
        if dtype is None or dtype == self.dtype:
            yield self.model
        else:
            yield _cast(deepcopy(self.model), dtype)


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
    def whole(self, dtype: torch.dtype | None = None) -> "Iterator[PreTrainedModel]":
        """The model in memory, as long as the block lasts; for what cannot be done a layer at a time."""
        yield _cast(self.load(), dtype or self.dtype)


Dense = DenseModel | StreamedModel


def _cast(model: "PreTrainedModel", dtype: torch.dtype) -> "PreTrainedModel":
    """The same model with its parameters in a dtype; buffers, such as rotary frequencies, keep theirs."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    return model
