"""A stock model whose layers are read from its files when they run: for models larger than memory.

transformers computes; only where its weights come from is ours. Nothing of dotresize is imported, so that the
check of a checkpoint, which must not depend on us, runs this very file.
"""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM

__all__ = ["open_paged", "page"]

Places = dict[str, tuple[Path, str]]  # a parameter's name -> its file, and its name there


def open_paged(
    directory: Path,
    *,
    dtype: torch.dtype = torch.float32,
    resident_bytes: int = 0,
    device: torch.device | None = None,
) -> Any:
    """The model of a checkpoint whose files name tensors as memory does, in eval mode.

    Args:
        directory: Holds config.json, tokenizer and safetensors files.
        dtype: To compute in.
        resident_bytes: Of layers that stay in memory once they have been read.
        device: Where to compute; the CPU when None.

    Raises:
        KeyError: A tensor of the model is in no file.
    """
    config = AutoConfig.from_pretrained(directory, local_files_only=True)
    # the default would leave a cap on attention scores out
    how = {"attn_implementation": "eager"} if getattr(config, "attn_logit_softcapping", None) else {}
    with torch.device("meta"):
        hollow = AutoModelForCausalLM.from_config(config, dtype=dtype, **how)
    return page(hollow, places_of(directory), resident_bytes=resident_bytes, device=device)


def places_of(directory: Path) -> Places:
    """Where each tensor of a checkpoint lies."""
    index = directory / "model.safetensors.index.json"
    if index.is_file():
        weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        return {name: (directory / file, name) for name, file in weight_map.items()}
    file = directory / "model.safetensors"
    with safe_open(file, framework="pt") as stream:
        return {name: (file, name) for name in stream.keys()}  # noqa: SIM118  # it has no other iterator


def page(model: Any, places: Places, *, resident_bytes: int, device: torch.device | None = None) -> Any:
    """Give a model without values its weights: all but the layers at once, each layer while it runs.

    Args:
        model: On the meta device, in the dtype to compute in; changed in place.
        places: Where its tensors lie; a tied one may be left out.
        resident_bytes: Of layers that stay in memory once they have been read.
        device: Where to compute; the CPU when None.

    Raises:
        KeyError: A tensor of the model is in no file.
    """
    device = device or torch.device("cpu")
    _make_buffers(
        model, device
    )  # before the weights: transformers would give a module's weights new values too
    layers = _layers_of(model)
    inside = {id(parameter) for parameter in layers.parameters()}
    for name, parameter in model.named_parameters():
        if id(parameter) not in inside:
            _put(model, name, _read(places[name], parameter.dtype, device))
    model.tie_weights()
    (path,) = [name for name, module in model.named_modules() if module is layers]
    kept = 0
    for number, layer in enumerate(layers):
        kept += sum(tensor.numel() * tensor.element_size() for tensor in layer.parameters())
        named = {name: places[f"{path}.{number}.{name}"] for name, _ in layer.named_parameters()}
        _Page(layer, named, device, stays=kept <= resident_bytes)
    return model.requires_grad_(False).eval()


def _layers_of(model: Any) -> nn.ModuleList:
    """The decoder's layers: the list of modules that holds most weights."""
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    return max(lists, key=lambda each: sum(parameter.numel() for parameter in each.parameters()))


class _Page:
    """Reads a layer when it is called, and lets go of it afterwards unless it stays."""

    def __init__(self, layer: nn.Module, places: Places, device: torch.device, *, stays: bool) -> None:
        """Hook into the layer."""
        self.hollow = {name: parameter for name, parameter in layer.named_parameters()}
        self.places, self.device, self.stays = places, device, stays
        layer.register_forward_pre_hook(self._read)
        layer.register_forward_hook(self._forget)

    def _read(self, layer: nn.Module, _given: Any) -> None:
        for name, parameter in layer.named_parameters():
            if parameter.is_meta:
                _put(layer, name, _read(self.places[name], parameter.dtype, self.device))

    def _forget(self, layer: nn.Module, _given: Any, _found: Any) -> None:
        if not self.stays:
            for name, empty in self.hollow.items():
                owner, _, leaf = name.rpartition(".")
                layer.get_submodule(owner)._parameters[leaf] = empty


def _read(place: tuple[Path, str], dtype: torch.dtype, device: torch.device) -> Tensor:
    path, name = place
    with safe_open(path, framework="pt") as stream:
        value: Tensor = stream.get_tensor(name)
        return value.to(device, dtype) if value.dtype != dtype or device.type != "cpu" else value.clone()


def _put(module: nn.Module, name: str, value: Tensor) -> None:
    owner, _, leaf = name.rpartition(".")
    module.get_submodule(owner)._parameters[leaf] = nn.Parameter(value, requires_grad=False)


def _make_buffers(model: Any, device: torch.device) -> None:
    """What no file holds, such as rotary frequencies: as transformers computes it when it loads a model."""
    for module in model.modules():
        hollow = {
            name: buffer for name, buffer in module._buffers.items() if buffer is not None and buffer.is_meta
        }
        for name, buffer in hollow.items():
            module._buffers[name] = torch.empty_like(buffer, device=device)
        if hollow:
            model._init_weights(module)
