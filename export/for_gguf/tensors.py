"""The tensors of a Llama-like checkpoint under their GGUF names, converted and written one at a time.

GGUF's llama architecture rotates neighbouring pairs of a head, transformers rotates halves: the rows of
the query and key projections are reordered for that, head by head. forms.py says who needs it.
"""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ...compress.weights.files import read_headers
from ...errors import ModelError
from ..disk.model_files import load_config, read_config, read_tensor
from .forms import GgufForm

if TYPE_CHECKING:
    import torch
    from gguf import GGMLQuantizationType, GGUFWriter

__all__ = [
    "TensorPlan",
    "WrittenType",
    "exact_type",
    "gguf_name",
    "plan_tensors",
    "planned_bytes",
    "rope_factors",
    "rotate_pairs",
    "write_tensors",
]

WrittenType = Literal["f32", "f16", "bf16", "q8_0", "q4_0", "q4_1"]  # that the gguf package can make
BLOCK = 32
_EXACT: dict[str, WrittenType] = {"F16": "f16", "BF16": "bf16"}
_TOP = {
    "model.embed_tokens.weight": "token_embd.weight",
    "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
}
_NAME = re.compile(r"model\.layers\.(\d+)\.(.+)\.(weight|bias)")


@dataclass(frozen=True, kw_only=True)
class TensorPlan:
    """One tensor: where it is, what it becomes."""

    shard: str
    source: str
    target: str
    shape: tuple[int, ...]
    type: WrittenType
    fell_back: bool  # f16 because its rows do not divide into blocks

    @property
    def row_values(self) -> int:
        """Length of a row."""
        return self.shape[-1]


def plan_tensors(directory: Path, form: GgufForm, wanted: WrittenType) -> list[TensorPlan]:
    """List every tensor of the checkpoint with its GGUF name and type, without reading values.

    Raises:
        ModelError: A tensor that the form has no place for.
    """
    plan = []
    for shard in sorted(directory.glob("*.safetensors")):
        for name, header in read_headers([shard]).items():
            kind, fell_back = _type_of(header.shape, wanted)
            plan.append(
                TensorPlan(
                    shard=shard.name,
                    source=name,
                    target=gguf_name(name, form),
                    shape=header.shape,
                    type=kind,
                    fell_back=fell_back,
                )
            )
    return plan


def planned_bytes(plan: list[TensorPlan]) -> int:
    """What the tensors of a plan take in the file."""
    return sum(_stored_bytes(entry) for entry in plan)


def _stored_bytes(entry: TensorPlan) -> int:
    from gguf import GGMLQuantizationType
    from gguf.quants import quant_shape_to_byte_shape

    return math.prod(quant_shape_to_byte_shape(entry.shape, GGMLQuantizationType[entry.type.upper()]))


def _type_of(shape: tuple[int, ...], wanted: WrittenType) -> tuple[WrittenType, bool]:
    if len(shape) == 1:
        return "f32", False
    if wanted.startswith("q") and shape[-1] % BLOCK:
        return "f16", True
    return wanted, False


def exact_type(directory: Path) -> WrittenType:
    """The smallest type that holds every weight of a checkpoint as it is stored there."""
    shards = sorted(directory.glob("*.safetensors"))
    dtypes = {header.dtype for header in read_headers(shards).values() if len(header.shape) > 1}
    return _EXACT.get(dtypes.pop(), "f32") if len(dtypes) == 1 else "f32"


def gguf_name(name: str, form: GgufForm) -> str:
    """What a tensor of a checkpoint is called in the file.

    Raises:
        ModelError: The form has no place for it.
    """
    if name in _TOP:
        return _TOP[name]
    found = _NAME.fullmatch(name)
    known = found is not None and found[2] in form.layer and (found[3] == "weight" or found[2] in form.biases)
    if found is None or not known:
        raise ModelError(f"{name} has no place in GGUF's {form.name} architecture")
    return f"blk.{found[1]}.{form.layer[found[2]]}.{found[3]}"


def write_tensors(
    writer: "GGUFWriter",
    directory: Path,
    form: GgufForm,
    plan: list[TensorPlan],
    extra: Iterator[tuple[str, NDArray[np.float32]]],
    progress: Callable[[str], None],
) -> None:
    """Write header, keys and every tensor; one tensor is in memory at a time."""
    from gguf import GGMLQuantizationType

    kinds: dict[str, GGMLQuantizationType] = {
        name: GGMLQuantizationType[name.upper()] for name in get_args(WrittenType)
    }
    added = list(extra)
    for name, values in added:
        writer.add_tensor_info(name, values.shape, values.dtype, values.nbytes)
    for entry in plan:
        writer.add_tensor_info(
            entry.target,
            entry.shape,
            np.dtype(np.float32),
            _stored_bytes(entry),
            raw_dtype=kinds[entry.type],
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for _, values in added:
        writer.write_tensor_data(values)
    heads = _head_counts(directory) if form.pairs else {}
    for index, entry in enumerate(plan):
        progress(f"writing tensor {index + 1} of {len(plan)}")
        writer.write_tensor_data(
            _convert(read_tensor(directory / entry.shard, entry.source), entry, kinds[entry.type], heads)
        )


def _head_counts(directory: Path) -> dict[str, int]:
    config = read_config(directory, ("num_attention_heads", "num_key_value_heads"))
    return {"attn_q": config["num_attention_heads"], "attn_k": config["num_key_value_heads"]}


def _convert(
    tensor: "torch.Tensor", entry: TensorPlan, kind: "GGMLQuantizationType", heads: dict[str, int]
) -> NDArray[Any]:
    from gguf.quants import quantize

    values: NDArray[np.float32] = tensor.float().numpy()  # (rows, row_values), or one norm's gain
    part = entry.target.split(".")[-2]
    if part in heads:
        values = rotate_pairs(values, heads[part])
    return np.ascontiguousarray(quantize(values, kind))


def rotate_pairs(values: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Reorder rows ``(heads * head_dim, ...)`` from rotated halves to rotated neighbours."""
    halves = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
    return halves.swapaxes(1, 2).reshape(values.shape)


def rope_factors(directory: Path) -> NDArray[np.float32]:
    """What llama.cpp divides each rotary frequency by, ``(head_dim / 2,)``: plain over scaled."""
    import torch
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    config = load_config(directory)
    scaled, _ = ROPE_INIT_FUNCTIONS["llama3"](config, torch.device("cpu"))
    exponents = torch.arange(0, config.head_dim, 2, dtype=torch.float32) / config.head_dim
    plain = config.rope_parameters["rope_theta"] ** -exponents
    factors: NDArray[np.float32] = (plain / scaled).float().numpy()
    return factors
