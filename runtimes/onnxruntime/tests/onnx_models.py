"""Real ONNX models, each small and made for one question; for the tests of the packages that load them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

WEIGHTS = (np.arange(12, dtype=np.float32).reshape(4, 3) - 5) / 7
BIAS = np.array([0.1, -0.2, 0.3], dtype=np.float32)
VOCABULARY = 50


class Models:
    """Makes model folders as the loader leaves them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def affine(self) -> Path:
        return self._save(
            "affine",
            [helper.make_node("MatMul", ["x", "W"], ["xw"]), helper.make_node("Add", ["xw", "b"], ["y"])],
            [("x", TensorProto.FLOAT, ["batch", 4])],
            [("y", TensorProto.FLOAT, ["batch", 3])],
            {"W": WEIGHTS, "b": BIAS},
            signature={
                "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
                "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 3]}],
            },
        )

    def tokens(self) -> Path:
        """Embedding, LSTM over any length, projection, softmax."""
        random = np.random.default_rng(1)
        hidden, width = 8, 6

        def weight(*shape: int) -> np.ndarray[Any, Any]:
            return random.standard_normal(shape).astype(np.float32)

        nodes = [
            helper.make_node("Gather", ["E", "tokens"], ["embedded"]),
            helper.make_node("Transpose", ["embedded"], ["by_time"], perm=[1, 0, 2]),
            helper.make_node("LSTM", ["by_time", "W", "R"], ["", "last"], hidden_size=hidden),
            helper.make_node("Squeeze", ["last", "axis"], ["state"]),
            helper.make_node("MatMul", ["state", "P"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1),
        ]
        weights = {
            "E": weight(VOCABULARY, width),
            "W": weight(1, 4 * hidden, width),
            "R": weight(1, 4 * hidden, hidden),
            "P": weight(hidden, VOCABULARY),
            "axis": np.array([0], dtype=np.int64),
        }
        return self._save(
            "tokens",
            nodes,
            [("tokens", TensorProto.INT32, ["batch", "length"])],
            [("probabilities", TensorProto.FLOAT, ["batch", VOCABULARY])],
            weights,
        )

    def time_major(self) -> Path:
        """A recurrent model whose first dimension is free and is time: its requests must never be put together."""
        random = np.random.default_rng(2)
        return self._save(
            "time_major",
            [
                helper.make_node("Unsqueeze", ["x", "axis"], ["one_batch"]),
                helper.make_node("LSTM", ["one_batch", "W", "R"], ["all"], hidden_size=3),
                helper.make_node("Reshape", ["all", "flat"], ["y"]),
            ],
            [("x", TensorProto.FLOAT, ["time", 2])],
            [("y", TensorProto.FLOAT, ["time", 3])],
            {
                "axis": np.array([1], dtype=np.int64),
                "flat": np.array([-1, 3], dtype=np.int64),
                "W": random.standard_normal((1, 12, 2)).astype(np.float32),
                "R": random.standard_normal((1, 12, 3)).astype(np.float32),
            },
        )

    def every_type(self, but: str = "") -> Path:
        """Each datatype goes in and comes out unchanged."""
        types = {
            "bool": TensorProto.BOOL,
            "uint8": TensorProto.UINT8,
            "int8": TensorProto.INT8,
            "uint16": TensorProto.UINT16,
            "int16": TensorProto.INT16,
            "uint32": TensorProto.UINT32,
            "int32": TensorProto.INT32,
            "uint64": TensorProto.UINT64,
            "int64": TensorProto.INT64,
            "fp16": TensorProto.FLOAT16,
            "fp32": TensorProto.FLOAT,
            "fp64": TensorProto.DOUBLE,
            "text": TensorProto.STRING,
        }
        types.pop(but, None)
        return self._save(
            f"every_type_{but}",
            [helper.make_node("Identity", [name], [f"{name}_out"]) for name in types],
            [(name, kind, ["n"]) for name, kind in types.items()],
            [(f"{name}_out", kind, ["n"]) for name, kind in types.items()],
            {},
        )

    def slow(self) -> Path:
        """y = x after many multiplications of a large matrix: some tens of milliseconds on one core."""
        return self._save(
            "slow",
            [*_busy("x"), helper.make_node("Mul", ["x", "one"], ["y"])],
            [("x", TensorProto.FLOAT, ["batch", 2])],
            [("y", TensorProto.FLOAT, ["batch", 2])],
            _BUSY_WEIGHTS,
        )

    def as_slow_as_told(self) -> Path:
        """y = x after as many multiplications of that matrix as the largest x says: each some milliseconds."""
        body = helper.make_graph(
            [
                helper.make_node("MatMul", ["p", "M"], ["next"]),
                helper.make_node("Identity", ["goes_on"], ["still_goes_on"]),
            ],
            "once_more",
            [
                helper.make_tensor_value_info("index", TensorProto.INT64, []),
                helper.make_tensor_value_info("goes_on", TensorProto.BOOL, []),
                helper.make_tensor_value_info("p", TensorProto.FLOAT, None),
            ],
            [
                helper.make_tensor_value_info("still_goes_on", TensorProto.BOOL, []),
                helper.make_tensor_value_info("next", TensorProto.FLOAT, None),
            ],
        )
        return self._save(
            "as_slow_as_told",
            [
                helper.make_node("ReduceMax", ["x"], ["largest"], keepdims=0),
                helper.make_node("Cast", ["largest"], ["times"], to=TensorProto.INT64),
                helper.make_node("Loop", ["times", "", "M"], ["product"], body=body),
                helper.make_node("ReduceMax", ["product"], ["one"], keepdims=0),
                helper.make_node("Mul", ["x", "one"], ["y"]),
            ],
            [("x", TensorProto.FLOAT, ["batch", 2])],
            [("y", TensorProto.FLOAT, ["batch", 2])],
            {"M": _BUSY_WEIGHTS["M"]},
        )

    def slow_sum(self) -> Path:
        """y = a + b, as slow; one row beside several is taken for each of them."""
        return self._save(
            "slow_sum",
            [
                *_busy("a"),
                helper.make_node("Mul", ["a", "one"], ["a_again"]),
                helper.make_node("Add", ["a_again", "b"], ["y"]),
            ],
            [("a", TensorProto.FLOAT, ["batch", 1]), ("b", TensorProto.FLOAT, ["others", 1])],
            [("y", TensorProto.FLOAT, ["rows", 1])],
            _BUSY_WEIGHTS,
        )

    def logarithm(self) -> Path:
        """Gives NaN and infinities for honest input."""
        return self._save(
            "logarithm",
            [helper.make_node("Log", ["x"], ["y"])],
            [("x", TensorProto.FLOAT, ["n"])],
            [("y", TensorProto.FLOAT, ["n"])],
            {},
        )

    def never_works(self) -> Path:
        """Loads, and fails for whatever it is asked: no reshape makes 7 values of a multiple of 11."""
        return self._save(
            "never_works",
            [helper.make_node("Reshape", ["x", "shape"], ["y"])],
            [("x", TensorProto.FLOAT, ["batch", 11])],
            [("y", TensorProto.FLOAT, ["rows", 7])],
            {"shape": np.array([0, 7], dtype=np.int64)},
        )

    def numbers_of_texts(self) -> Path:
        """Takes texts of a form that no warm-up guesses."""
        return self._save(
            "numbers_of_texts",
            [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.FLOAT)],
            [("x", TensorProto.STRING, ["n"])],
            [("y", TensorProto.FLOAT, ["n"])],
            {},
        )

    def files(self, name: str, files: dict[str, bytes]) -> Path:
        folder = self._folder / name
        for path, content in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        return folder

    def _save(
        self,
        name: str,
        nodes: list[onnx.NodeProto],
        inputs: list[tuple[str, int, list[str | int]]],
        outputs: list[tuple[str, int, list[str | int]]],
        weights: dict[str, np.ndarray[Any, Any]],
        signature: Any = None,
    ) -> Path:
        graph = helper.make_graph(
            nodes,
            name,
            [helper.make_tensor_value_info(*value) for value in inputs],
            [helper.make_tensor_value_info(*value) for value in outputs],
            [numpy_helper.from_array(value, key) for key, value in weights.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        files = {"onnx/model.onnx": model.SerializeToString()}
        if signature is not None:
            files["signature.json"] = json.dumps(signature).encode()
        return self.files(name, files)


_BUSY_WEIGHTS = {"M": np.eye(384, dtype=np.float32), "zero": np.array(0, dtype=np.float32)}


def _busy(name: str) -> list[onnx.NodeProto]:
    """`one` is 1, and takes its time: it depends on the input `name`, so that nothing of it is computed beforehand."""
    return [
        helper.make_node("ReduceMax", [name], ["largest"], keepdims=0),
        helper.make_node("Mul", ["largest", "zero"], ["none"]),
        helper.make_node("Add", ["M", "none"], ["R"]),
        helper.make_node("MatMul", ["M", "M"], ["p0"]),
        *(helper.make_node("MatMul", [f"p{i}", "R"], [f"p{i + 1}"]) for i in range(24)),
        helper.make_node("ReduceMax", ["p24"], ["one"], keepdims=0),
    ]
