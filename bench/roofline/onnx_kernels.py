"""The matrix products of an ONNX Runtime GenAI directory, timed alone with ONNX Runtime's own kernels.

A few layers of one part are a small graph of the same nodes with the same weights; norms, attention over
the context, activations and sampling are left out. All these sessions share one pool of threads, because
the threads of a session go on spinning for a while and would disturb the next one. What a session costs
without any matrix is subtracted.
"""

import re
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import OptionError
from ..record.results import BenchModel, Part
from .onnx_cost import MATRIX_OPERATORS, attribute, read_graph
from .timing import best_seconds, time_in_turn

if TYPE_CHECKING:
    from onnx import GraphProto, NodeProto
    from onnxruntime import InferenceSession

__all__ = ["time_onnx_kernels"]

MICROSOFT = "com.microsoft"
LAYER = re.compile(r"layers\.(\d+)")
PARTS: dict[Part, str] = {"attention": r"/attn/", "mlp": r"/mlp/", "head": r"lm_head"}
LAYERS_TOGETHER = 5


def time_onnx_kernels(
    model: BenchModel, batch_tokens: int, threads: int, *, head_rows: int
) -> dict[Part, float]:
    """See `kernel_times.time_kernels`."""
    import numpy as np
    from onnx import helper

    _share_threads(threads)
    directory = Path(model.path)
    graph = read_graph(directory)
    random = np.random.default_rng(0)

    def work(name: str, nodes: "list[NodeProto]", rows: int) -> Callable[[], object]:
        session = _session(name, nodes, graph, model, directory)
        state = random.standard_normal((1, rows, model.hidden_size), dtype=np.float32)
        return partial(session.run, None, {"state": state})

    works: dict[Part, list[Callable[[], object]]] = {
        part: [
            work(name, nodes, head_rows if part == "head" else batch_tokens)
            for name, nodes in _pieces(graph, part).items()
        ]
        for part in PARTS
    }
    overhead = best_seconds(work("empty", [helper.make_node("Shape", ["state"], ["empty"])], 1), "cpu")
    seconds = time_in_turn(works, "cpu")
    return {part: max(0.0, seconds[part] - len(works[part]) * overhead) for part in works}


@cache
def _share_threads(threads: int) -> None:
    """Size the pool that the sessions share; ONNX Runtime does that once in the life of a process."""
    import onnxruntime
    from onnxruntime.capi.onnxruntime_pybind11_state import Fail

    try:
        onnxruntime.set_global_thread_pool_sizes(threads, 1)
    except Fail as error:
        raise OptionError(
            f"kernels with {threads} threads, but this process has timed with another number; ONNX Runtime "
            "sets it once, so measure in a fresh process (machine_rates.measure_in_child)"
        ) from error


def _session(
    name: str, nodes: "list[NodeProto]", graph: "GraphProto", model: BenchModel, directory: Path
) -> "InferenceSession":
    """A session `state` (1, rows, hidden) -> `name`, on the weights beside the graph."""
    import onnxruntime
    from onnx import TensorProto, helper

    used = {value for node in nodes for value in node.input}
    kind = TensorProto.INT64 if name == "empty" else TensorProto.FLOAT
    proto = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("state", TensorProto.FLOAT, [1, "rows", model.hidden_size])],
        [helper.make_tensor_value_info(name, kind, None)],
        initializer=[tensor for tensor in graph.initializer if tensor.name in used],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid(MICROSOFT, 1)]
    options = onnxruntime.SessionOptions()
    options.use_per_session_threads = False
    folder = str(directory.resolve())
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
    whole = helper.make_model(proto, opset_imports=opsets, ir_version=10).SerializeToString()
    return onnxruntime.InferenceSession(whole, options, providers=["CPUExecutionProvider"])


def _pieces(graph: "GraphProto", part: Part) -> "dict[str, list[NodeProto]]":
    """Output name -> nodes, a few layers each; the head is one piece."""
    matrices = [n for n in graph.node if n.op_type in MATRIX_OPERATORS and re.search(PARTS[part], n.name)]
    if part == "head":
        return {"head": [_with_ends(matrices[0], "state", "head")]}
    by_layer: dict[int, list[NodeProto]] = {}
    for node in matrices:
        found = LAYER.search(node.name)
        if found:
            by_layer.setdefault(int(found.group(1)), []).append(node)
    layers = [by_layer[index] for index in sorted(by_layer)]
    groups = [layers[start : start + LAYERS_TOGETHER] for start in range(0, len(layers), LAYERS_TOGETHER)]
    return {f"{part}.{index}": _group(f"{part}.{index}", group, graph) for index, group in enumerate(groups)}


def _group(name: str, layers: "list[list[NodeProto]]", graph: "GraphProto") -> "list[NodeProto]":
    """Each layer from `state`: readers, their outputs as wide as the writer takes, the writer; all summed."""
    from onnx import helper

    nodes: list[NodeProto] = []
    total = "state"
    for index, (*readers, writer) in enumerate(layers):
        key = f"{name}.{index}"
        inner = [f"{node.name}/alone" for node in readers]
        nodes += [_with_ends(node, "state", result) for node, result in zip(readers, inner, strict=True)]
        nodes += _joined(inner, f"{key}.inner", _inputs_of(writer, graph), key)
        nodes.append(_with_ends(writer, f"{key}.inner", f"{key}.written"))
        result = name if index == len(layers) - 1 else f"{key}.sum"
        nodes.append(helper.make_node("Add", [total, f"{key}.written"], [result]))
        total = result
    return nodes


def _joined(values: list[str], target: str, width: int, key: str) -> "list[NodeProto]":
    """Gate + up, or the first columns of query, key and value."""
    from onnx import helper

    if len(values) == 2:
        return [helper.make_node("Add", values, [target])]
    numbers = {"start": 0, "end": width, "axis": 2}
    constants = [
        helper.make_node("Constant", [], [f"{key}.{word}"], value_ints=[number])
        for word, number in numbers.items()
    ]
    ends = [f"{key}.{word}" for word in numbers]
    return [*constants, helper.make_node("Slice", [values[0], *ends], [target])]


def _inputs_of(node: "NodeProto", graph: "GraphProto") -> int:
    shapes = (tensor.dims for tensor in graph.initializer if tensor.name == node.input[1])
    return attribute(node, "K") or int(next(iter(shapes))[0])


def _with_ends(node: "NodeProto", value: str, result: str) -> "NodeProto":
    from onnx import NodeProto

    copy = NodeProto()
    copy.CopyFrom(node)
    copy.input[0], copy.output[0] = value, result
    return copy
