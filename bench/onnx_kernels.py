"""The matrix products of an ONNX Runtime GenAI directory, timed alone with ONNX Runtime's own kernels.

One small graph per part holds the same nodes with the same weights, all layers after one another; norms,
attention over the context, activations and sampling are left out.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from .onnx_cost import MATRIX_OPERATORS, attribute, read_graph
from .results import BenchModel, Part

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto
    from onnxruntime import InferenceSession

__all__ = ["time_onnx_kernels"]

MICROSOFT = "com.microsoft"
LAYER = re.compile(r"layers\.(\d+)")
PARTS: dict[Part, str] = {"attention": r"/attn/", "mlp": r"/mlp/", "head": r"lm_head"}


def time_onnx_kernels(
    model: BenchModel, batch_tokens: int, threads: int, *, head_rows: int
) -> dict[Part, float]:
    """See `kernel_times.time_kernels`."""
    from .kernel_times import time_in_turn

    directory = Path(model.path)
    graph = read_graph(directory)
    sessions = {part: _session(_part_model(graph, part, model), directory, threads) for part in PARTS}
    inputs = {part: _input(model, head_rows if part == "head" else batch_tokens) for part in PARTS}

    def run(part: Part) -> object:
        return sessions[part].run(None, {"state": inputs[part]})

    return time_in_turn(
        {"attention": lambda: run("attention"), "mlp": lambda: run("mlp"), "head": lambda: run("head")}, "cpu"
    )


def _input(model: BenchModel, rows: int) -> object:
    import numpy as np

    return np.random.default_rng(0).standard_normal((1, rows, model.hidden_size), dtype=np.float32)


def _session(part: "ModelProto", directory: Path, threads: int) -> "InferenceSession":
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", str(directory.resolve())
    )
    return onnxruntime.InferenceSession(part.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _part_model(graph: "GraphProto", part: Part, model: BenchModel) -> "ModelProto":
    """A graph `state` (1, rows, hidden) -> `result` that runs all matrices of one part."""
    from onnx import TensorProto, helper

    matrices = [n for n in graph.node if n.op_type in MATRIX_OPERATORS and re.search(PARTS[part], n.name)]
    nodes = _head(matrices) if part == "head" else _layers(matrices, graph)
    used = {name for node in nodes for name in node.input}
    float32 = TensorProto.FLOAT
    value = [helper.make_tensor_value_info("state", float32, [1, "rows", model.hidden_size])]
    proto = helper.make_graph(
        nodes,
        part,
        value,
        [helper.make_tensor_value_info("result", float32, [1, "rows", None])],
        initializer=[tensor for tensor in graph.initializer if tensor.name in used],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid(MICROSOFT, 1)]
    return helper.make_model(proto, opset_imports=opsets, ir_version=10)


def _head(matrices: "list[NodeProto]") -> "list[NodeProto]":
    return [_with_ends(matrices[0], "state", "result")]


def _layers(matrices: "list[NodeProto]", graph: "GraphProto") -> "list[NodeProto]":
    """Each layer from `state`: readers, their outputs cut to the writer's width and summed, the writer."""
    from onnx import helper

    by_layer: dict[int, list[NodeProto]] = {}
    for node in matrices:
        found = LAYER.search(node.name)
        if found:
            by_layer.setdefault(int(found.group(1)), []).append(node)
    nodes: list[NodeProto] = []
    total = "state"
    for index, layer in sorted(by_layer.items()):
        *readers, writer = layer
        inner = []
        for node in readers:
            nodes.append(_with_ends(node, "state", f"{node.name}/alone"))
            inner.append(f"{node.name}/alone")
        nodes += _joined(inner, f"inner.{index}", _inputs_of(writer, graph), index)
        nodes.append(_with_ends(writer, f"inner.{index}", f"write.{index}"))
        nodes.append(helper.make_node("Add", [total, f"write.{index}"], [f"sum.{index}"]))
        total = f"sum.{index}"
    return [*nodes, helper.make_node("Identity", [total], ["result"])]


def _joined(values: list[str], target: str, width: int, index: int) -> "list[NodeProto]":
    """Gate + up, or the first columns of query, key and value."""
    from onnx import helper

    if len(values) == 2:
        return [helper.make_node("Add", values, [target])]
    names = {key: f"{key}.{index}" for key in ("start", "end", "axis")}
    numbers = {"start": 0, "end": width, "axis": 2}
    constants = [helper.make_node("Constant", [], [names[key]], value_ints=[numbers[key]]) for key in names]
    return [*constants, helper.make_node("Slice", [values[0], *names.values()], [target])]


def _inputs_of(node: "NodeProto", graph: "GraphProto") -> int:
    shapes = (tensor.dims for tensor in graph.initializer if tensor.name == node.input[1])
    return attribute(node, "K") or int(next(iter(shapes))[0])


def _with_ends(node: "NodeProto", value: str, result: str) -> "NodeProto":
    from onnx import NodeProto

    copy = NodeProto()
    copy.CopyFrom(node)
    copy.input[0], copy.output[0] = value, result
    return copy
