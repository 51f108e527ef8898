"""The only code that changes a model's structure. It applies what others decided."""

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ...errors import ModelError
from .canonical import tensor_names
from .family import Family
from .hollow import hollow_model

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

__all__ = ["assemble", "layer_class", "narrow_layer", "refuse_unset", "to_float32"]


def to_float32(module: nn.Module, device: torch.device) -> nn.Module:
    """The module in float32 on the device, or in float64 if it is: itself when it already is, else a copy."""
    parameter = next(module.parameters())
    if parameter.dtype in (torch.float32, torch.float64) and parameter.device.type == device.type:
        return module
    wide = torch.promote_types(parameter.dtype, torch.float32)
    return copy.deepcopy(module).to(device, wide)


def narrow_layer(
    make: Any, dense_layer: nn.Module, family: Family, narrow_config: "PreTrainedConfig", index: int
) -> nn.Module:
    """A decoder layer with the narrow widths, in float32 on the dense layer's device.

    What a site or norm of the family names is NaN until it is set; everything else is the dense layer's.

    Args:
        make: the layer's class, of `layer_class`.
        dense_layer: in float32.
        family: of the dense layer.
        narrow_config: of the narrow model.
        index: of the layer in the narrow model.

    Raises:
        ModelError: a tensor that the family does not name is absent from the dense layer or of another shape.
    """
    with torch.device("meta"):
        layer: nn.Module = make(narrow_config, layer_idx=index)
    named = tensor_names(family)
    dense = dict(dense_layer.named_parameters()) | dict(dense_layer.named_buffers())
    like = next(dense_layer.parameters())
    for name, empty in (*layer.named_parameters(), *layer.named_buffers()):
        module, _, leaf = name.rpartition(".")
        value = like.new_full(empty.shape, torch.nan) if name in named else _copied(name, empty, dense)
        owner = layer.get_submodule(module)
        if leaf in owner._parameters:
            owner._parameters[leaf] = nn.Parameter(value, requires_grad=False)
        else:
            owner._buffers[leaf] = value
    lost = set(dense) - set(dict(layer.named_parameters()) | dict(layer.named_buffers()))
    if lost:
        raise ModelError(f"layer {index}: the narrow layer has no place for {', '.join(sorted(lost))}.")
    return layer.eval()


def _copied(name: str, empty: Tensor, dense: dict[str, Tensor]) -> Tensor:
    if name not in dense or dense[name].shape != empty.shape:
        found = f"shape {tuple(dense[name].shape)}" if name in dense else "nothing"
        raise ModelError(
            f"{name} is not known to this family: the narrow layer wants shape {tuple(empty.shape)}, the "
            f"dense one holds {found}. This model differs from its family's usual form."
        )
    return dense[name].detach().clone()


def layer_class(narrow_config: "PreTrainedConfig", family: Family) -> type[nn.Module]:
    """The class of the decoder layers of the model that a config describes."""
    return type(next(iter(hollow_model(narrow_config).get_submodule(family.layers).children())))


def refuse_unset(layer: nn.Module, index: int) -> None:
    """Check that every tensor of a narrow layer has been set to numbers.

    Raises:
        ModelError: names one that has not.
    """
    for name, tensor in layer.state_dict().items():
        if not torch.isfinite(tensor).all():
            raise ModelError(
                f"layer {index}: {name} was not set, or holds numbers that are not finite; "
                "check the dense model's tensor of that name."
            )


def assemble(
    narrow_config: "PreTrainedConfig", state: dict[str, Tensor], family: Family, dtype: torch.dtype
) -> "PreTrainedModel":
    """A stock transformers model from a config and its complete tensors.

    Args:
        narrow_config: the stock config.
        state: Hugging Face tensor name -> tensor, every parameter of the model.
        family: names the head, which is absent from `state` when it is tied.
        dtype: of the model.

    Raises:
        ModelError: a tensor of the model is missing from `state`, or the other way round.
    """
    model = hollow_model(narrow_config, dtype=dtype, buffers=True)
    missing, unexpected = model.load_state_dict(state, strict=False, assign=True)
    tied_away = {f"{family.head}.weight"} if narrow_config.tie_word_embeddings else set()
    if set(missing) - tied_away or unexpected:
        raise ModelError(
            f"the narrow {type(model).__name__} lacks {sorted(set(missing) - tied_away)} and has no place "
            f"for {sorted(unexpected)}; this model differs from its family's usual form."
        )
    model.tie_weights()
    return model.eval().requires_grad_(False)  # type: ignore[no-any-return]
