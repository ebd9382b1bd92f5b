"""The only room that computes with TensorFlow: a version's folder becomes an engine, arrays become arrays.

As the official server, it runs the graph in a session: no Python of the model's own, and a time limit for each run.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headrace_serving.failures import MAX_ERROR_CHARACTERS, Reason, StartError
from headrace_serving.refusals import refusal
from headrace_serving.shapes import DYNAMIC
from headrace_tensorflow_serving.codes import Code, from_number
from headrace_tensorflow_serving.failures import CodedError
from headrace_tensorflow_serving.refusals import REFUSALS
from headrace_tensorflow_serving.signature import Array, Family, Signature, TensorSpec
from headrace_tensorflow_serving.tensorflow_parts import (
    ConfigProto,
    Graph,
    MakeNdarray,
    OpError,
    RunOptions,
    Session,
    dtypes,
    loader_impl,
    session_c_api,
    tf_logging,
)

Feed = Mapping[str, Array]

# What tf.saved_model.save and Keras mark a graph with that is meant for serving.
_TAGS = ["serve"]


@dataclass(frozen=True)
class Threads:
    """Of one operation (`intra_op`), and operations at a time (`inter_op`)."""

    intra_op: int
    inter_op: int


class Engine:
    """A loaded model. `run` may be called from any thread.

    `signatures` are those that can be served, by name; `signature_defs` all of them, as the model describes itself.
    """

    def __init__(self, session: Any, signatures: Mapping[str, Signature], signature_defs: Mapping[str, Any]) -> None:
        # Session.run would look all of this up again for each request, which takes it longer than a small model.
        session._extend_graph()
        self._session = session
        self.signatures = signatures
        self.signature_defs = signature_defs
        self._handles = {
            spec.node: session.graph.get_tensor_by_name(spec.node)._as_tf_output()
            for signature in signatures.values()
            for spec in (*signature.inputs, *signature.outputs)
        }

    def run(
        self, signature: Signature, feed: Feed, outputs: Sequence[TensorSpec], deadline: float | None = None
    ) -> list[Array]:
        """The values of `outputs`, in their order; `deadline` is in the time of time.monotonic().

        Raises CodedError with the status that TensorFlow gives.
        """
        feeds = {self._handles[spec.node]: feed[spec.name] for spec in signature.inputs}
        fetches = [self._handles[spec.node] for spec in outputs]
        with _options(deadline) as options:
            try:
                values = session_c_api.TF_SessionRun_wrapper(self._session._session, options, feeds, fetches, [], None)
            except OpError as error:
                raise CodedError(from_number(error.error_code), _in_one_line(error.message)) from error
            except (ValueError, TypeError) as error:
                raise CodedError(Code.INVALID_ARGUMENT, _in_one_line(str(error))) from error
            except Exception as error:
                raise CodedError(Code.INTERNAL, _in_one_line(str(error))) from error
        return [_as_array(value) for value in values]


@contextmanager
def _options(deadline: float | None) -> Iterator[Any]:
    """The time limit of a run, as TensorFlow's C API takes it. Raises CodedError(DEADLINE_EXCEEDED)."""
    if deadline is None:
        yield None
        return
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise CodedError(Code.DEADLINE_EXCEEDED, "the request waited for too long")
    # 2**31 ms are 25 days.
    milliseconds = min(max(1, int(remaining * 1000)), 2**31)
    buffer = session_c_api.TF_NewBufferFromString(RunOptions(timeout_in_ms=milliseconds).SerializeToString())
    try:
        yield buffer
    finally:
        session_c_api.TF_DeleteBuffer(buffer)


def load(path: Path, threads: Threads) -> Engine:
    """The model in the folder `path`. Raises StartError."""
    tf_logging.set_verbosity(tf_logging.ERROR)
    graph = Graph()
    config = ConfigProto(
        intra_op_parallelism_threads=threads.intra_op,
        inter_op_parallelism_threads=threads.inter_op,
        # A model exported beside a GPU names devices that are not here.
        allow_soft_placement=True,
    )
    session = Session(graph=graph, config=config)
    try:
        with graph.as_default():
            meta_graph = loader_impl.load(session, _TAGS, str(path))
    except Exception as error:
        raise refusal(REFUSALS, " ".join(str(error).split())) or StartError(
            Reason.MODEL_CORRUPT,
            f"{path} cannot be loaded: {_in_one_line(str(error))}",
            "Export the model again, for serving; its digest was verified, so the files are what the export wrote.",
        ) from error
    definitions = dict(meta_graph.signature_def)
    signatures = {
        name: signature
        for name, definition in sorted(definitions.items())
        if (signature := _signature(name, definition)) is not None
    }
    if not signatures:
        raise StartError(
            Reason.MODEL_UNSUPPORTED,
            f"The model has no signature with dense tensors for inputs and outputs (it has: {_listed(definitions)}).",
            "Export it with keras.Model.export, or with signatures given to tf.saved_model.save.",
        )
    return Engine(session, signatures, definitions)


def _signature(name: str, definition: Any) -> Signature | None:
    """None when it cannot be served: a function without inputs or outputs, a sparse tensor, a handle."""
    inputs, outputs = _specs(definition.inputs), _specs(definition.outputs)
    if not inputs or not outputs:
        return None
    defaults = {key: MakeNdarray(value) for key, value in definition.defaults.items()}
    return Signature(name=name, inputs=inputs, outputs=outputs, defaults=defaults)


def _specs(infos: Mapping[str, Any]) -> tuple[TensorSpec, ...] | None:
    specs = [_spec(name, info) for name, info in sorted(infos.items())]
    return None if None in specs else tuple(spec for spec in specs if spec is not None)


def _spec(name: str, info: Any) -> TensorSpec | None:
    try:
        datatype = dtypes.as_dtype(info.dtype)
    except TypeError:
        return None
    if not info.name or datatype in (dtypes.resource, dtypes.variant):
        return None
    unknown = info.tensor_shape.unknown_rank
    return TensorSpec(
        name=name,
        node=info.name,
        type_number=info.dtype,
        type_name=datatype.name,
        family=_FAMILY_OF.get(datatype.name, Family.OTHER),
        dtype=np.dtype(datatype.as_numpy_dtype),
        shape=None if unknown else tuple(max(DYNAMIC, dim.size) for dim in info.tensor_shape.dim),
    )


_FAMILY_OF = {
    **dict.fromkeys(("float16", "bfloat16", "float32", "float64"), Family.FLOAT),
    **dict.fromkeys(("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"), Family.INTEGER),
    "bool": Family.BOOLEAN,
    "string": Family.TEXT,
}


def _as_array(value: Any) -> Array:
    """A session gives a tensor without dimensions as a bare value, and numpy would cut a text's last zero bytes off."""
    if isinstance(value, bytes):
        array = np.empty((), dtype=object)
        array[()] = value
        return array
    return np.asarray(value)


def _in_one_line(message: str) -> str:
    """The first line says what is wrong; the others are nodes and stacks."""
    first = next((line for line in message.splitlines() if line.strip()), "no reason is given")
    return " ".join(first.split())[:MAX_ERROR_CHARACTERS]


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
