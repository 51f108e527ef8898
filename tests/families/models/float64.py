"""Stock transformers models in float64 throughout.

transformers casts to float32 inside norms, rotary embeddings and softmax whatever the model's dtype is, so a
model that is merely loaded in float64 is right to seven digits only. Here those casts are raised to float64,
and an identity between two models can be asserted to 1e-10.
"""

from typing import Any

import torch
from torch.overrides import TorchFunctionMode

__all__ = ["Float64"]


class Float64(TorchFunctionMode):
    """While this is entered, every cast to float32 is a cast to float64."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.Tensor.float:
            return args[0].double()
        args = tuple(_raised(value) for value in args)
        return func(*args, **{name: _raised(value) for name, value in (kwargs or {}).items()})


def _raised(value: Any) -> Any:
    return torch.float64 if value is torch.float32 else value
