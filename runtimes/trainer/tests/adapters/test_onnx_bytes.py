"""The same model is the same bytes, whatever the converter has called its parts."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from headrace_trainer.adapters.onnx_bytes import canonical


def model(names: list[str], weights: list[np.ndarray]):
    """x times the first weight plus the second, with the initializers in the order of their names."""
    times, plus, product = names
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["unk__6", 2]) for name in ("x", "y")]
    nodes = [helper.make_node("MatMul", ["x", times], [product]), helper.make_node("Add", [product, plus], ["y"])]
    tensors = [numpy_helper.from_array(array, name) for name, array in zip((times, plus), weights, strict=True)]
    tensors.sort(key=lambda tensor: tensor.name)
    return helper.make_model(helper.make_graph(nodes, "g", value[:1], value[1:], tensors))


WEIGHTS = [np.arange(4, dtype="float32").reshape(2, 2), np.ones((2, 2), "float32")]


def test_names_and_the_order_of_the_weights_do_not_matter():
    assert canonical(model(["a", "b", "c"], WEIGHTS)) == canonical(model(["z__9", "b__7", "t"], WEIGHTS))


def test_another_weight_is_another_model():
    other = [WEIGHTS[0], WEIGHTS[1] + 1]
    assert canonical(model(["a", "b", "c"], WEIGHTS)) != canonical(model(["a", "b", "c"], other))


def test_the_model_that_is_given_stays_as_it_is():
    given = model(["z", "b", "c"], WEIGHTS)
    before = given.SerializeToString()
    canonical(given)
    assert given.SerializeToString() == before
