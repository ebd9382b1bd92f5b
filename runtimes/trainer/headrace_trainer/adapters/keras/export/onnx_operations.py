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

# ONNX Runtime computes erf and atanh of float32 only, and in float16 they would lose what they are for. Of float64
# nothing is rewritten: the model would compute other values than Keras.
_EXACT_IN_FLOAT32 = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT32, TensorProto.INT64})


def rewrite(graph: Graph, nodes: list[Node]) -> list[Node]:
    """Takes what `_REWRITTEN` has a function for out of the graph; a custom_rewriter of tf2onnx'."""
    for node in list(nodes):  # removing one changes the graph's own list
        written = _REWRITTEN.get(node.type)
        if written is None or graph.get_dtype(node.input[0]) not in _EXACT_IN_FLOAT32:
            continue
        output = written(graph, node, _made(graph, node, "Cast", node.input[0], to=TensorProto.FLOAT))
        [old], [shape], [dtype] = node.output, node.output_shapes, node.output_dtypes
        graph.remove_node(node.name)
        graph.make_node("Cast", [output], attr={"to": dtype}, outputs=[old], name=node.name, shapes=[shape])
    return list(graph.get_nodes())


def _erfc(graph: Graph, node: Node, x: Output) -> Output:
    """What is left of 1 where erf is near it is of float32's last step: as good as it gets beside an output of that
    size, as GELU's.
    """
    return _made(graph, node, "Sub", _number(graph, node, 1), _made(graph, node, "Erf", x))


def _expm1(graph: Graph, node: Node, x: Output) -> Output:
    """exp(x) - 1 has lost a small x; 2t / (1 - t) of t = tanh(x/2) has not."""
    one, two = _number(graph, node, 1), _number(graph, node, 2)
    t = _made(graph, node, "Tanh", _made(graph, node, "Div", x, two))
    near = _made(graph, node, "Div", _made(graph, node, "Mul", two, t), _made(graph, node, "Sub", one, t))
    far = _made(graph, node, "Sub", _made(graph, node, "Exp", x), one)
    return _made(graph, node, "Where", _is_small(graph, node, x), near, far)


def _log1p(graph: Graph, node: Node, x: Output) -> Output:
    """log(1 + x) has lost a small x; 2 atanh(x / (2 + x)) has not."""
    one, two = _number(graph, node, 1), _number(graph, node, 2)
    half = _made(graph, node, "Atanh", _made(graph, node, "Div", x, _made(graph, node, "Add", two, x)))
    far = _made(graph, node, "Log", _made(graph, node, "Add", one, x))
    return _made(graph, node, "Where", _is_small(graph, node, x), _made(graph, node, "Mul", two, half), far)


def _bucketize(graph: Graph, node: Node, x: Output) -> Output:
    """How many boundaries a number is not less than: of what is no number, as in TensorFlow, all."""
    boundaries = _constant(graph, node, np.array(node.get_attr("boundaries").floats, np.float32))
    last = _constant(graph, node, np.array([-1], np.int64))
    less = _made(graph, node, "Less", _made(graph, node, "Unsqueeze", x, last), boundaries)
    reached = _made(graph, node, "Cast", _made(graph, node, "Not", less), to=TensorProto.INT32)
    return _made(graph, node, "ReduceSum", reached, last, keepdims=0)


def _is_small(graph: Graph, node: Node, x: Output) -> Output:
    return _made(graph, node, "Less", _made(graph, node, "Abs", x), _number(graph, node, 0.5))


def _number(graph: Graph, node: Node, value: float) -> Output:
    return _constant(graph, node, np.array(value, np.float32))


def _constant(graph: Graph, node: Node, value: Any) -> Output:
    from tf2onnx import utils

    output: Output = graph.make_const(utils.make_name(node.name), value).output[0]
    return output


def _made(graph: Graph, node: Node, operation: str, *inputs: Output, **attributes: Any) -> Output:
    """The output of an operation that takes part in the place of `node`."""
    made = graph.make_node(operation, list(inputs), attr=attributes, op_name_scope=node.name)
    output: Output = made.output[0]
    return output


# From what goes in, as float32, to what comes out.
_REWRITTEN: dict[str, Callable[[Graph, Node, Output], Output]] = {
    "Bucketize": _bucketize,
    "Erfc": _erfc,
    "Expm1": _expm1,
    "Log1p": _log1p,
}
