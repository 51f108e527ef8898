"""Look at a model in float32 without changing it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

__all__ = ["as_float32"]


@contextmanager
def as_float32(model: "PreTrainedModel") -> Iterator[None]:
    """Within the block, weights and rotary frequencies are float32 and the model is in eval mode.

    Weights are cast up, which is exact, and the original tensors are put back afterwards. Rotary
    frequencies that a `model.to(bfloat16)` has rounded are computed afresh from the config: every
    runtime that loads the checkpoint does that too.
    """
    training = model.training
    weights = [(weight, weight.data) for weight in model.parameters()]
    buffers = _fresh_frequencies(model)
    try:
        model.eval()
        for weight, data in weights:
            weight.data = data.float()
        for module, name, fresh, _ in buffers:
            module._buffers[name] = fresh
        yield
    finally:
        for weight, data in weights:
            weight.data = data
        for module, name, _, old in buffers:
            module._buffers[name] = old
        model.train(training)


def _fresh_frequencies(
    model: "PreTrainedModel",
) -> "list[tuple[torch.nn.Module, str, torch.Tensor, torch.Tensor]]":
    """(module, buffer name, float32 value, present value) of each rounded rotary buffer."""
    import torch

    found: list[tuple[torch.nn.Module, str, torch.Tensor, torch.Tensor]] = []
    for module in model.modules():
        rounded = module._buffers.get("inv_freq")
        if rounded is None or rounded.dtype == torch.float32:
            continue
        fresh = type(module)(config=model.config)
        for name, old in module._buffers.items():
            if old is not None and old.is_floating_point():
                value = fresh.get_buffer(name).to(device=old.device, dtype=torch.float32)
                found.append((module, name, value, old))
    return found
