"""What a model costs, read from its headers alone: bytes and FLOPs of each part. No weights are loaded.

One table of name patterns serves every format, because Hugging Face checkpoints and ONNX Runtime GenAI's
graphs name their tensors alike. Llama and Mistral are exact; other families work as far as their tensor
names say which part they belong to, and are refused otherwise.
"""

import re
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

from ...compress.families.shape import widths_of
from ...errors import ModelError
from ...export.artefact_info import inspect_artefact
from ...export.contract.vocabulary import tokenizer_sha256
from ...export.disk.model_files import is_onnx_directory, read_config
from ...foreign import reading
from ...serve.engine.model_facts import DTYPE_BYTES, read_facts
from ..record.results import BenchModel
from .onnx_cost import describe_onnx
from .tensor_cost import TensorCost, part_of, total, weights_sha256

__all__ = ["describe"]

# Bytes of one element, by the dtype names of safetensors.
ITEM_BYTES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "BF16": 2, "F16": 2, "I16": 2, "I8": 1, "U8": 1}
ITEM_BYTES |= {"BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1}
FLOATS = {"F64": "float64", "F32": "float32", "BF16": "bfloat16", "F16": "float16"}


def describe(directory: Path, *, name: str, source: str, dtype: str) -> BenchModel:
    """Read the costs of a checkpoint, or of an ONNX Runtime GenAI directory.

    Args:
        directory: What the engine loads.
        name: Unique in the run.
        source: What the user named.
        dtype: Of the run: "float32", "bfloat16", "float16", or "auto" for the one that is stored. An ONNX
            graph has its own and ignores it.

    Raises:
        ModelError: Damaged, not a language model, or a tensor whose part its name does not say.
        ManifestError: The manifest is damaged, or a weight file is not of the size that it records.
        MissingDependencyError: An ONNX directory without the `export` extra.
    """
    if is_onnx_directory(directory):
        return describe_onnx(directory, name=name, source=source)
    facts = read_facts(directory)
    config = read_config(directory)
    run_dtype = facts.dtype if dtype == "auto" else dtype
    if run_dtype not in DTYPE_BYTES:
        raise ModelError(
            f"{directory} is {run_dtype}; expected one of {', '.join(DTYPE_BYTES)}: name a dtype"
        )
    costs = _checkpoint_costs(directory, bool(config.get("tie_word_embeddings")), DTYPE_BYTES[run_dtype])
    info = inspect_artefact(directory)
    if not facts.intermediate_size:
        raise ModelError(
            f"{directory / 'config.json'} has no intermediate_size; such models are not supported"
        )
    return BenchModel(
        name=name,
        source=source,
        path=str(directory),
        format=info.format,
        precision=_precision(info.precision),
        sha256=weights_sha256(directory, sorted(directory.glob("*.safetensors"))),
        tokenizer_sha256=tokenizer_sha256(directory),
        **vars(widths_of(config)),
        parameters=sum(cost.parameters for cost in costs),
        weight_bytes=info.weight_bytes,
        kv_bytes_per_token=facts.kv_cache_bytes_per_token(run_dtype),
        parts=total(costs),
        compute_dtype="int8" if _quantises_activations(config) else run_dtype,
    )


def _precision(text: str) -> str:
    """The dtype names of safetensors in plain words; a manifest's precision as it is."""
    return "+".join(FLOATS.get(word.upper(), word) for word in text.split("+"))


def _quantises_activations(config: dict[str, Any]) -> bool:
    """Whether matrices are multiplied in 8 bits; GPUs with fp8 do it at the rate of int8."""
    groups = (config.get("quantization_config") or {}).get("config_groups")
    found = groups.values() if isinstance(groups, dict) else ()
    return any(isinstance(group, dict) and group.get("input_activations") for group in found)


def _checkpoint_costs(directory: Path, tied: bool, run_bytes: int) -> list[TensorCost]:
    """Costs of all tensors. With a tied head the table counts as the head: each step reads all of it."""
    from safetensors import safe_open

    costs: list[TensorCost] = []
    for shard in sorted(directory.glob("*.safetensors")):
        advice = "make or download it again"
        with reading(shard, by="safetensors", advice=advice), safe_open(shard, framework="numpy") as stream:
            costs.extend(_shard_costs(stream, run_bytes))
    if tied and not any(cost.part == "head" for cost in costs):
        costs = [_as_head(cost) if cost.part == "embedding" else cost for cost in costs]
    return costs


def _as_head(table: TensorCost) -> TensorCost:
    return TensorCost(
        part="head",
        stored_bytes=table.stored_bytes,
        loaded_bytes=table.loaded_bytes,
        decode_bytes=table.loaded_bytes,
        flops_per_token=2.0 * table.parameters,
        parameters=table.parameters,
    )


def _shard_costs(stream: Any, run_bytes: int) -> Iterator[TensorCost]:
    names = set(stream.keys())
    for name in sorted(names):
        piece = stream.get_slice(name)
        shape, kind = tuple(piece.get_shape()), str(piece.get_dtype())
        if kind not in ITEM_BYTES:
            raise ModelError(
                f"tensor {name!r} is of type {kind}, which is not known; expected {', '.join(ITEM_BYTES)}"
            )
        stored = prod(shape) * ITEM_BYTES[kind]
        original = _original_shape(stream, name, shape, names)
        is_weight = original is not None
        shape = original or shape
        quantised = kind not in FLOATS or not is_weight
        loaded = stored if quantised else prod(shape) * run_bytes
        part = part_of(name)
        is_table = part == "embedding" and len(shape) == 2
        yield TensorCost(
            part=part,
            stored_bytes=stored,
            loaded_bytes=loaded,
            decode_bytes=loaded // shape[0] if is_table else loaded,
            flops_per_token=2.0 * prod(shape) if is_weight and len(shape) == 2 and not is_table else 0.0,
            parameters=prod(shape) if is_weight else 0,
        )


def _original_shape(
    stream: Any, name: str, shape: tuple[int, ...], names: set[str]
) -> tuple[int, ...] | None:
    """Shape of the weight that a tensor stands for; None for the scales, zeros and shapes beside one."""
    if name.endswith(".weight_packed"):  # compressed-tensors packs several numbers into one int32
        rows, columns = stream.get_tensor(name.removesuffix("packed") + "shape").tolist()
        return int(rows), int(columns)
    base = re.sub(r"\.(weight|input|output)_(scale|zero_point|shape|g_idx|global_scale)$", ".weight", name)
    beside = base != name and (base in names or f"{base}_packed" in names)
    return None if beside else shape
