"""The only code that changes a model's structure. It applies what others decided."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .families import Family

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

__all__ = ["assemble", "narrow_layer", "replace_linear", "set_unit_gain", "to_float32"]


def to_float32(module: nn.Module, device: torch.device) -> nn.Module:
    """The module in float32 on the device: itself when it already is, else a copy."""
    parameter = next(module.parameters())
    if parameter.dtype == torch.float32 and parameter.device.type == device.type:
        return module
    import copy

    return copy.deepcopy(module).to(device, torch.float32)


def narrow_layer(
    dense_layer: nn.Module, narrow_config: "PreTrainedConfig", index: int, device: torch.device
) -> nn.Module:
    """A decoder layer of the dense layer's own class with the narrow widths; weights are still to be set."""
    make: Any = type(dense_layer)
    with device:
        layer: nn.Module = make(narrow_config, layer_idx=index)
    return layer.to(torch.float32).eval().requires_grad_(False)


def set_unit_gain(norm: nn.Module) -> None:
    """Set every gain of a norm to one; the readers have absorbed it."""
    weight = norm.get_parameter("weight")
    weight.data = torch.ones_like(weight)


def replace_linear(linear: nn.Module, weight: Tensor, bias: Tensor | None, stored_dtype: torch.dtype) -> None:
    """Set a linear layer's weight and bias, rounded to the dtype they will be stored in.

    The layer goes on in float32, so later fits see exactly what will be served.
    """
    for name, value in (("weight", weight), ("bias", bias)):
        if value is None:
            continue
        parameter = linear.get_parameter(name)
        if parameter.shape != value.shape:
            raise AssertionError(
                f"{name} has shape {tuple(value.shape)}, the layer holds {tuple(parameter.shape)}"
            )
        parameter.data = value.to(stored_dtype).to(parameter.device, torch.float32).contiguous()


def assemble(
    narrow_config: "PreTrainedConfig", state: dict[str, Tensor], family: Family, dtype: torch.dtype
) -> "PreTrainedModel":
    """A stock transformers model from a config and its complete tensors.

    Args:
        narrow_config: the stock config.
        state: Hugging Face tensor name -> tensor, every parameter of the model.
        family: names the head, which is absent from `state` when it is tied.
        dtype: of the model.
    """
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_config(narrow_config, dtype=dtype)
    missing, unexpected = model.load_state_dict(state, strict=False, assign=True)
    tied_away = {f"{family.head}.weight"} if narrow_config.tie_word_embeddings else set()
    if set(missing) - tied_away or unexpected:
        raise AssertionError(f"missing {sorted(missing)}, unexpected {sorted(unexpected)}")
    model.tie_weights()
    return model.eval().requires_grad_(False)  # type: ignore[no-any-return]
