"""Costs of an ONNX Runtime GenAI directory, from its graph without the weights beside it."""

from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import MissingDependencyError, ModelError
from ...export.artefact_info import inspect_artefact
from ...export.contract.vocabulary import tokenizer_sha256
from ...export.disk.model_files import read_genai_config
from ...foreign import reading
from ..record.results import BenchModel
from .tensor_cost import TensorCost, part_of, total, weights_sha256

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto, TensorProto

__all__ = ["MATRIX_OPERATORS", "attribute", "describe_onnx", "read_graph"]

MATRIX_OPERATORS = ("MatMul", "MatMulNBits", "Gemm")
PASS_THROUGH = ("Reshape", "Transpose", "Cast", "Identity")
ROW_OPERATORS = ("Gather", "GatherBlockQuantized", "GroupQueryAttention", "RotaryEmbedding")
FLOAT_NAMES = {1: "float32", 10: "float16", 16: "bfloat16"}  # of onnx.TensorProto
INT8_ACCURACY = 4  # MatMulNBits quantises its input to int8 and multiplies in int8


@dataclass(frozen=True, kw_only=True)
class _Graph:
    """The graph with the look-ups that costs need."""

    proto: "GraphProto"
    readers: dict[str, list["NodeProto"]]  # value name -> nodes that take it
    makers: dict[str, "NodeProto"]  # value name -> the node that makes it


def read_graph(directory: Path) -> "GraphProto":
    """The decoder's graph; the weights stay on disk.

    Raises:
        ModelError: `genai_config.json` or the graph is missing or damaged.
        MissingDependencyError: onnx is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise MissingDependencyError(
            f"reading {directory} needs onnx ({error}); install dotresize[export]"
        ) from error
    path = directory / read_genai_config(directory).model.decoder.filename
    with reading(path, by="onnx", advice="export it again"):
        return onnx.load(path, load_external_data=False).graph


def describe_onnx(directory: Path, *, name: str, source: str) -> BenchModel:
    """See `model_cost.describe`."""
    model = read_genai_config(directory).model
    proto = read_graph(directory)
    graph = _index(proto)
    costs = [_cost(graph, tensor) for tensor in proto.initializer]
    info = inspect_artefact(directory)
    matrices = [node for node in proto.node if node.op_type in MATRIX_OPERATORS]
    widths = replace(model.widths, intermediate_size=_intermediate_size(directory, graph, matrices))
    files = sorted(path for path in directory.iterdir() if ".onnx" in path.name and path.is_file())
    return BenchModel(
        name=name,
        source=source,
        path=str(directory),
        format="onnx",
        precision=_precision(graph, matrices, info.precision),
        sha256=weights_sha256(directory, files),
        tokenizer_sha256=tokenizer_sha256(directory),
        **vars(widths),
        parameters=sum(cost.parameters for cost in costs),
        weight_bytes=info.weight_bytes,
        kv_bytes_per_token=widths.cache_elements_per_token * _cache_item_bytes(directory, proto),
        parts=total(costs),
        compute_dtype=_compute_dtype(graph, matrices),
        head_every_position=_head_every_position(graph, matrices),
    )


def attribute(node: "NodeProto", name: str, default: int = 0) -> int:
    """An integer attribute of a node."""
    return next((int(entry.i) for entry in node.attribute if entry.name == name), default)


def _index(proto: "GraphProto") -> _Graph:
    readers: dict[str, list[NodeProto]] = {}
    for node in proto.node:
        for value in node.input:
            readers.setdefault(value, []).append(node)
    makers = {value: node for node in proto.node for value in node.output}
    return _Graph(proto=proto, readers=readers, makers=makers)


def _uses(graph: _Graph, value: str) -> list["NodeProto"]:
    """Nodes that work on a value, looked up through nodes that only pass it on."""
    found = []
    for node in graph.readers.get(value, ()):
        found += _uses(graph, node.output[0]) if node.op_type in PASS_THROUGH else [node]
    return found


def _cost(graph: _Graph, tensor: "TensorProto") -> TensorCost:
    uses = _uses(graph, tensor.name)
    matrices = [node for node in uses if node.op_type in MATRIX_OPERATORS]
    rows_only = bool(uses) and all(node.op_type in ROW_OPERATORS for node in uses)
    stored = _bytes(tensor)
    elements = _elements(tensor, matrices, uses)
    return TensorCost(
        part=_part(tensor.name, matrices),
        stored_bytes=stored,
        loaded_bytes=stored,
        decode_bytes=stored // max(tensor.dims[0], 1) if rows_only and tensor.dims else stored,
        flops_per_token=2.0 * elements if matrices and len(tensor.dims) > 1 else 0.0,
        parameters=elements,
    )


def _part(name: str, matrices: list["NodeProto"]) -> Any:
    """By the matrix product that reads it, which names a shared table's part too; else by its own name."""
    return part_of(matrices[0].name if matrices else name)


def _elements(tensor: "TensorProto", matrices: list["NodeProto"], uses: list["NodeProto"]) -> int:
    """Weights that an initializer stands for: K x N of a quantised matrix, none for scales and caches."""
    quantised = [node for node in matrices if node.op_type == "MatMulNBits"]
    if quantised:
        is_weight = quantised[0].input[1] == tensor.name
        return attribute(quantised[0], "K") * attribute(quantised[0], "N") if is_weight else 0
    gathers = [node for node in uses if node.op_type == "GatherBlockQuantized"]
    if gathers:  # a quantised table of its own: several numbers in one byte, scales beside them
        is_table = tensor.data_type not in FLOAT_NAMES
        return prod(tensor.dims) * 8 // attribute(gathers[0], "bits", 4) if is_table else 0
    is_float = tensor.data_type in FLOAT_NAMES
    return prod(tensor.dims) if is_float and not tensor.name.endswith(("cos_cache", "sin_cache")) else 0


def _bytes(tensor: "TensorProto") -> int:
    for entry in tensor.external_data:
        if entry.key == "length":
            return int(entry.value)
    from onnx.helper import tensor_dtype_to_np_dtype

    return int(prod(tensor.dims) * tensor_dtype_to_np_dtype(tensor.data_type).itemsize)


def _intermediate_size(directory: Path, graph: _Graph, matrices: list["NodeProto"]) -> int:
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.proto.initializer}
    for node in matrices:
        if "down_proj" in node.name or "fc2" in node.name:
            return attribute(node, "K") or int(shapes[node.input[1]][0])
    raise ModelError(f"{directory} has no MLP with a down_proj in its graph; such models are not supported")


def _cache_item_bytes(directory: Path, proto: "GraphProto") -> int:
    from onnx.helper import tensor_dtype_to_np_dtype

    for value in proto.input:
        if value.name.startswith("past_key_values"):
            return int(tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type).itemsize)
    raise ModelError(f"{directory} has no past_key_values input; expected a model of ONNX Runtime GenAI")


def _precision(graph: _Graph, matrices: list["NodeProto"], recorded: str) -> str:
    """As the manifest has it ("int4 for cpu"), else by the narrowest matrix; in the builder's words."""
    if recorded != "unknown":
        return recorded.split(" for ")[0]
    bits = [attribute(node, "bits", 4) for node in matrices if node.op_type == "MatMulNBits"]
    if bits:
        return f"int{min(bits)}"
    return {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}[_cache_dtype(graph)]


def _cache_dtype(graph: _Graph) -> str:
    cache = next(value for value in graph.proto.input if value.name.startswith("past_key_values"))
    return FLOAT_NAMES.get(cache.type.tensor_type.elem_type, "float32")


def _compute_dtype(graph: _Graph, matrices: list["NodeProto"]) -> str:
    quantised = [node for node in matrices if node.op_type == "MatMulNBits"]
    if quantised and attribute(quantised[0], "accuracy_level") == INT8_ACCURACY:
        return "int8"
    return _cache_dtype(graph)


def _head_every_position(graph: _Graph, matrices: list["NodeProto"]) -> bool:
    """Whether nothing between the last norm and the head picks the last token."""
    head = next((node for node in matrices if "lm_head" in node.name), None)
    while head is not None and "norm" not in head.name.rsplit("/", 1)[-1].lower():
        if head.op_type in ("Gather", "GatherND", "Slice"):
            return False
        head = graph.makers.get(head.input[0])
    return True
