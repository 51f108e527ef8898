"""The weights of a dense model, a part at a time: from its safetensors files, or from a model in memory.

A part is a module of the model, by its path; whoever asks for one only reads it. Nothing else of the model is
in memory when it comes from files.
"""

import copy
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

from ...errors import ModelError
from ...foreign import reading
from ..families.surgery import to_float32

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["FileWeights", "LoadedWeights", "Weights", "read_tensors"]


class Weights(Protocol):
    """Parts of one model."""

    def module(self, path: str) -> nn.Module:
        """A module with its parameters on the CPU in the model's dtype; it is only read."""

    def layers(self, path: str, numbers: Sequence[int], device: torch.device) -> Iterator[nn.Module]:
        """Children of a module, one after the other, in float32 (float64 stays) on a device; only read."""


@dataclass(frozen=True)
class LoadedWeights:
    """Of a model in memory."""

    model: "PreTrainedModel"

    def module(self, path: str) -> nn.Module:
        """As `Weights.module`."""
        return self.model.get_submodule(path)

    def layers(self, path: str, numbers: Sequence[int], device: torch.device) -> Iterator[nn.Module]:
        """As `Weights.layers`."""
        layers = list(self.model.get_submodule(path).children())
        for number in numbers:
            yield to_float32(layers[number], device)


@dataclass(frozen=True, kw_only=True)
class FileWeights:
    """Of safetensors files.

    Attributes:
        hollow: the model without values, in the dtype that its weights have in memory.
        places: name of a parameter -> the file that holds it, and its name there; tied ones share a place.
    """

    hollow: "PreTrainedModel"
    places: dict[str, tuple[Path, str]]

    def module(self, path: str) -> nn.Module:
        """As `Weights.module`.

        Raises:
            ModelError: a file is damaged, or has changed since it was opened.
        """
        return self._filled(path, torch.device("cpu"), wide=False)

    def layers(self, path: str, numbers: Sequence[int], device: torch.device) -> Iterator[nn.Module]:
        """As `Weights.layers`. For a GPU the next one is read and sent while the present one is used.

        Raises:
            ModelError: a file is damaged, or has changed since it was opened.
        """
        if device.type == "cuda":
            yield from self._ahead(path, numbers, device)
            return
        for number in numbers:
            yield self._filled(f"{path}.{number}", device, wide=True)

    def _ahead(self, path: str, numbers: Sequence[int], device: torch.device) -> Iterator[nn.Module]:
        """One thread reads a layer into pinned memory and copies it on a stream of its own."""
        side = torch.cuda.Stream(device)

        def send(number: int) -> tuple[nn.Module, torch.cuda.Event]:
            with torch.cuda.stream(side):
                layer = self._filled(f"{path}.{number}", device, wide=True)
            return layer, side.record_event()

        with ThreadPoolExecutor(1) as reader:
            ahead = [reader.submit(send, number) for number in numbers[:1]]
            for following in [*numbers[1:], None]:
                layer, arrived = ahead.pop().result()
                if following is not None:
                    ahead.append(reader.submit(send, following))
                here = torch.cuda.current_stream(device)
                here.wait_event(arrived)
                for tensor in layer.state_dict().values():
                    tensor.record_stream(here)
                yield layer

    def _filled(self, path: str, device: torch.device, *, wide: bool) -> nn.Module:
        """A copy of a hollow module, with values."""
        hollow = self.hollow.get_submodule(path)
        module = copy.deepcopy(hollow)
        values = read_tensors({leaf: self.places[f"{path}.{leaf}"] for leaf in hollow.state_dict()})
        for leaf, empty in hollow.state_dict().items():
            value = next(values)[1].to(empty.dtype)
            if wide:
                value = value.to(torch.promote_types(empty.dtype, torch.float32))
            if device.type == "cuda":
                value = value.pin_memory().to(device, non_blocking=True)
            owner, _, name = leaf.rpartition(".")
            module.get_submodule(owner)._parameters[name] = nn.Parameter(value, requires_grad=False)
        return module.eval()


def read_tensors(places: dict[str, tuple[Path, str]]) -> Iterator[tuple[str, Tensor]]:
    """Tensors one by one in the order that was asked for, in memory of their own; files stay mapped between.

    Args:
        places: a name -> the file, and the tensor's name there.

    Raises:
        ModelError: a file is damaged.
    """
    from safetensors import safe_open

    file = stream = None
    for name, (path, stored) in places.items():
        with reading(path, ModelError, by="safetensors", advice="make or download it again"):
            if path != file:
                file, stream = path, safe_open(path, framework="pt")
            assert stream is not None
            value: Tensor = stream.get_tensor(stored).clone()  # type: ignore[no-untyped-call]
        yield name, value
