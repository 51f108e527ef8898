"""Both models before they are divided: the first process reads the weights, the others make room for them.

With `shard`, every process of a node would otherwise hold a whole copy for a moment, which at seventy billion
parameters is more than nodes have. What the others allocate is never written to before the first process
sends its weights, so the system gives them addresses and no memory.
"""

from typing import TYPE_CHECKING, Any

import torch

from ...compress.families.hollow import hollow_model
from ...compress.streams.launcher import runs_first
from ...compress.weights.source import DenseModel, OpenModel
from ..ask.config import RecoverConfig
from .shards import from_first, meet

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["load", "roomy"]


def load(opened: OpenModel, config: RecoverConfig, dtype: torch.dtype) -> DenseModel:
    """A model to train or to be taught by; with `shard`, all processes ask for it at once.

    Args:
        opened: what was found out about it.
        config: of the recovery.
        dtype: that it will have where only the first process has its values.

    Raises:
        ModelError: the weights cannot be read.
    """
    if not config.shard:
        return opened.load()
    meet(config)
    if runs_first():
        read = opened.load()
        from_first((read.source, read.generation_config))
        return read
    source, generation = from_first(None)
    return DenseModel(
        model=roomy(opened.config, dtype),
        tokenizer=opened.tokenizer,
        generation_config=generation,
        source=source,
    )


def roomy(config: Any, dtype: torch.dtype) -> "PreTrainedModel":
    """A model whose parameters have a place on the CPU and no values; its buffers are as they should be."""
    model: Any = hollow_model(config, dtype=dtype, runs=True, buffers=True)
    for module in model.modules():
        for name, parameter in module._parameters.items():
            if parameter is not None:
                room = torch.empty(parameter.shape, dtype=parameter.dtype)
                module._parameters[name] = torch.nn.Parameter(room, requires_grad=False)
    model.tie_weights()
    return model.eval()  # type: ignore[no-any-return]
