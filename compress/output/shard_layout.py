"""Which tensor of a stock model lies in which safetensors file, and at which byte: known before one exists.

The same files, byte for byte, as `save_pretrained` writes: it fills shards in the order of the model, and
safetensors orders a file by the tensors' names.
"""

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import nn

__all__ = ["INDEX_NAME", "MAX_SHARD_BYTES", "Layout", "Place", "Shard", "lay_out"]

MAX_SHARD_BYTES = 5_000_000_000
INDEX_NAME = "model.safetensors.index.json"
_PATTERN = "model{suffix}.safetensors"
_NAMES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.float16: "F16"}


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a tensor lies in its file."""

    start: int  # bytes from the beginning of the file
    shape: tuple[int, ...]
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One safetensors file."""

    name: str
    header: bytes
    size_bytes: int
    places: dict[str, Place]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """All files of a model's weights."""

    dtype: torch.dtype
    shards: tuple[Shard, ...]
    index: str | None  # the content of the index, when there is more than one file

    def shard_of(self, tensor: str) -> Shard:
        """The file of a tensor.

        Raises:
            KeyError: the model has no such tensor.
        """
        for shard in self.shards:
            if tensor in shard.places:
                return shard
        raise KeyError(tensor)


def lay_out(
    hollow: "nn.Module", dtype: torch.dtype, tied: set[str], *, max_shard_bytes: int = MAX_SHARD_BYTES
) -> Layout:
    """Lay a model's tensors out.

    Args:
        hollow: the model; only names and shapes are looked at.
        dtype: that every tensor is stored in.
        tied: names that share another one's tensor and are not stored.
        max_shard_bytes: upper bound of one file's tensors, unless one tensor is larger.
    """
    from huggingface_hub import split_torch_state_dict_into_shards

    state = {
        name: torch.empty(tensor.shape, dtype=dtype, device="meta")
        for name, tensor in hollow.state_dict().items()
        if name not in tied
    }
    split = split_torch_state_dict_into_shards(
        state, filename_pattern=_PATTERN, max_shard_size=max_shard_bytes
    )
    shards = tuple(
        _shard(name, {tensor: tuple(state[tensor].shape) for tensor in tensors}, dtype)
        for name, tensors in split.filename_to_tensors.items()
    )
    index = None
    if split.is_sharded:
        parameters = sum(tensor.numel() for tensor in state.values())
        metadata = {"total_parameters": parameters, **split.metadata}
        content = {"metadata": metadata, "weight_map": split.tensor_to_filename}
        index = json.dumps(content, indent=2, sort_keys=True) + "\n"
    return Layout(dtype=dtype, shards=shards, index=index)


def _shard(name: str, shapes: dict[str, tuple[int, ...]], dtype: torch.dtype) -> Shard:
    item_bytes = torch.empty((), dtype=dtype).element_size()
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    ends, end = {}, 0
    for tensor in sorted(shapes):
        start, end = end, end + math.prod(shapes[tensor]) * item_bytes
        offsets = [start, end]
        entries[tensor] = {"dtype": _NAMES[dtype], "shape": list(shapes[tensor]), "data_offsets": offsets}
        ends[tensor] = (start, end)
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    header = len(text).to_bytes(8, "little") + text
    places = {
        tensor: Place(start=len(header) + start, shape=shapes[tensor], size_bytes=stop - start)
        for tensor, (start, stop) in ends.items()
    }
    return Shard(name=name, header=header, size_bytes=len(header) + end, places=places)
