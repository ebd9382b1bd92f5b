"""The only room that talks to ONNX Runtime: a file becomes an engine, arrays become arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnxruntime.capi.onnxruntime_pybind11_state import NotImplemented as KernelMissing

from headrace_common.formats import FILES, SIGNATURE, ModelFormat
from headrace_onnxruntime.refusals import REFUSALS
from headrace_onnxruntime.signature import Datatype, Signature, TensorSpec, refine
from headrace_serving.failures import MAX_ERROR_CHARACTERS, Reason, StartError
from headrace_serving.refusals import refusal
from headrace_serving.shapes import DYNAMIC

MODEL_FILE = Path(FILES[ModelFormat.ONNX])

Array = np.ndarray[Any, np.dtype[Any]]
Feed = Mapping[str, Array]

_DATATYPE_OF = {
    "tensor(bool)": Datatype.BOOL,
    "tensor(uint8)": Datatype.UINT8,
    "tensor(uint16)": Datatype.UINT16,
    "tensor(uint32)": Datatype.UINT32,
    "tensor(uint64)": Datatype.UINT64,
    "tensor(int8)": Datatype.INT8,
    "tensor(int16)": Datatype.INT16,
    "tensor(int32)": Datatype.INT32,
    "tensor(int64)": Datatype.INT64,
    "tensor(float16)": Datatype.FP16,
    "tensor(float)": Datatype.FP32,
    "tensor(double)": Datatype.FP64,
    "tensor(string)": Datatype.BYTES,
}


_TENSOR_HINT = "Export the model with tensors of numbers, booleans or strings for inputs and outputs."
_ZIPMAP_HINT = (
    "skl2onnx puts a ZipMap behind a classifier's probabilities: convert with options={id(model): {'zipmap': False}}."
)


class EngineError(Exception):
    """The model could not compute an answer from these inputs; `is_final`: nor can it from others."""

    def __init__(self, message: str, *, is_final: bool = False) -> None:
        super().__init__(message)
        self.is_final = is_final


class Engine:
    """A loaded model. `run` may be called from any thread."""

    def __init__(self, session: Any, signature: Signature) -> None:
        self._session = session
        self.signature = signature
        self._output_names = [spec.name for spec in signature.outputs]

    def run(self, feed: Feed) -> list[Array]:
        """All outputs, in the order of the signature. Raises EngineError."""
        try:
            outputs: list[Array] = self._session.run(self._output_names, feed)
        except Exception as error:
            raise EngineError(in_one_line(error), is_final=isinstance(error, KernelMissing)) from error
        return outputs


def load(model_dir: Path, threads: int) -> Engine:
    """The model in `model_dir` (onnx/model.onnx, signature.json). Raises StartError."""
    path = model_dir / MODEL_FILE
    if not path.is_file():
        raise StartError(
            Reason.MODEL_NOT_FOUND,
            f"There is no {MODEL_FILE} in {model_dir}.",
            "The loader puts it there: check its log, and that both containers mount the same volume.",
        )
    try:
        session = cpu_session(path, threads)
    except Exception as error:
        # The path of the folder says nothing to whoever exported the model.
        text = " ".join(str(error).replace(f"{path.parent.resolve()}/", "").split())
        raise refusal(REFUSALS, text) or StartError(
            Reason.MODEL_CORRUPT,
            f"{MODEL_FILE} cannot be loaded: {in_one_line(error)}",
            "Export the model again; its digest was verified, so the file is what the export wrote.",
        ) from error
    own = Signature(inputs=_specs(session.get_inputs()), outputs=_specs(session.get_outputs()))
    return Engine(session, refine(own, model_dir / SIGNATURE))


def cpu_session(path: Path, threads: int) -> Any:
    """As a server beside whose runs an event loop answers needs it. Raises whatever ONNX Runtime raises."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # What a kernel says about a bad request goes to the client, not to the log for each of them.
    options.log_severity_level = 4
    # Spinning threads take the CPU from the event loop, which has the same quota.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def in_one_line(error: Exception) -> str:
    """What ONNX Runtime says, bounded."""
    return " ".join(str(error).split())[:MAX_ERROR_CHARACTERS]


def _specs(nodes: Sequence[Any]) -> tuple[TensorSpec, ...]:
    return tuple(_spec(node) for node in nodes)


def _spec(node: Any) -> TensorSpec:
    datatype = _DATATYPE_OF.get(node.type)
    if datatype is None:
        raise StartError(
            Reason.MODEL_UNSUPPORTED,
            f"{node.name!r} is of type {node.type}, for which the Open Inference Protocol has no datatype.",
            _ZIPMAP_HINT if "map(" in node.type else _TENSOR_HINT,
        )
    shape = tuple(size if isinstance(size, int) and size >= 0 else DYNAMIC for size in node.shape)
    return TensorSpec(name=node.name, datatype=datatype, shape=shape)
