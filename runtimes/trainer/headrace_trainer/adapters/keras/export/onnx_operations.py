"""Operations of TensorFlow's that tf2onnx leaves as they are, put together from those that ONNX has.

They are rewriters of one conversion. A handler would be registered for the process, where a script may convert its own
models.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import TensorProto

Graph = Any  # of tf2onnx
Node = Any
Output = str


def rewrite(graph: Graph, nodes: list[Node]) -> list[Node]:
    """Takes what `_REWRITTEN` has a function for out of the graph; a custom_rewriter of tf2onnx'."""
    for node in nodes:
        written = _REWRITTEN.get(node.type)
        output = written(graph, node) if written else None
        if output is None:
            continue
        [old], [shape], [dtype] = node.output, node.output_shapes, node.output_dtypes
        graph.remove_node(node.name)
        graph.make_node("Identity", [output], outputs=[old], name=node.name, shapes=[shape], dtypes=[dtype])
    return list(graph.get_nodes())


def _erfc(graph: Graph, node: Node) -> Output | None:
    """What is left of 1 where erf is near it is of float32's last step: as good as it gets beside an output of that
    size, as GELU's. float16 would lose GELU's values below -3. ONNX Runtime has no erf of float64.
    """
    dtype = graph.get_dtype(node.input[0])
    if dtype not in (TensorProto.FLOAT, TensorProto.FLOAT16):
        return None
    x = _made(graph, node, "Cast", node.input[0], to=TensorProto.FLOAT)
    one = graph.make_const(f"{node.name}/one", np.float32(1)).output[0]
    rest = _made(graph, node, "Sub", one, _made(graph, node, "Erf", x))
    return _made(graph, node, "Cast", rest, to=dtype)


def _made(graph: Graph, node: Node, operation: str, *inputs: Output, **attributes: Any) -> Output:
    """The output of an operation that takes part in the place of `node`."""
    made = graph.make_node(operation, list(inputs), attr=attributes, op_name_scope=node.name)
    output: Output = made.output[0]
    return output


# None: this one cannot be written.
_REWRITTEN: dict[str, Callable[[Graph, Node], Output | None]] = {"Erfc": _erfc}
