"""What a model's own file says that it takes and answers. No library that runs it need be in the image.

Of ONNX: the graph's inputs without those that have a value already, and its outputs. Of a SavedModel: the signature
that servers ask it by. Nothing is computed: what the file does not say, such as the shape of an output that only the
operations give, makes the model one that is not described.

The messages and their numbers: onnx.proto (ModelProto, GraphProto, ValueInfoProto, TypeProto, TensorShapeProto),
saved_model.proto, meta_graph.proto (SignatureDef, TensorInfo), tensor_shape.proto.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from headrace_common.formats import ModelFormat
from headrace_common.protobuf import NotProtobuf, Number, Part, fields, mapped, parts
from headrace_common.signature import FREE, Signature, Tensor

SERVED = "serving_default"  # the signature of a SavedModel that servers ask it by
_TAG = "serve"  # of the graph that they load
_MOST_NAMES = 1000

# onnx.proto
_MODEL_GRAPH = 7
_GRAPH_INITIALIZER, _GRAPH_INPUT, _GRAPH_OUTPUT, _GRAPH_SPARSE = 5, 11, 12, 15
_TENSOR_NAME, _SPARSE_VALUES = 8, 1
_VALUE_NAME, _VALUE_TYPE, _TYPE_TENSOR, _TENSOR_ELEMENT, _TENSOR_SHAPE = 1, 2, 1, 1, 2
_SHAPE_SIZE, _SIZE_VALUE = 1, 1
_OTHER_TYPES = {4: "a sequence", 5: "a map", 8: "a sparse tensor", 9: "an optional value"}
_ONNX_TYPES = {
    1: "FP32",
    2: "UINT8",
    3: "INT8",
    4: "UINT16",
    5: "INT16",
    6: "INT32",
    7: "INT64",
    8: "BYTES",
    9: "BOOL",
    10: "FP16",
    11: "FP64",
    12: "UINT32",
    13: "UINT64",
    16: "BF16",
}
# saved_model.proto and what it imports
_META_GRAPH, _META_ABOUT, _ABOUT_TAG, _META_SIGNATURE, _KEY, _VALUE = 2, 1, 4, 5, 1, 2
_SIGNATURE_INPUTS, _SIGNATURE_OUTPUTS = 1, 2
_INFO_NAME, _INFO_TYPE, _INFO_SHAPE, _RANK_SIZE, _RANK_UNKNOWN = 1, 2, 3, 2, 3
_TENSORFLOW_TYPES = {
    1: "FP32",
    2: "FP64",
    3: "INT32",
    4: "UINT8",
    5: "INT16",
    6: "INT8",
    7: "BYTES",
    9: "INT64",
    10: "BOOL",
    14: "BF16",
    17: "UINT16",
    19: "FP16",
    22: "UINT32",
    23: "UINT64",
}


class NotDescribed(ValueError):
    """The file does not say what the model takes and answers, or says what no signature can; the text says what."""


def own_signature(format: str, path: Path) -> Signature:
    """What the model of this format, whose file is `path`, says of itself. Raises NotDescribed, OSError."""
    read = _READERS.get(format)
    if read is None:
        raise NotDescribed(f"signatures are not read of {format}")
    try:
        with mapped(path) as content:
            found = read(content)
    except NotProtobuf as error:
        raise NotDescribed(str(error) or "it is no protobuf") from error
    if not found.inputs or not found.outputs:
        raise NotDescribed(f"it has no {'outputs' if found.inputs else 'inputs'}")
    return found


def is_read(format: str) -> bool:
    """Whether the file of this format says what the model takes and answers. Text's says how a server runs it."""
    return format in _READERS


def _of_onnx(content: bytes) -> Signature:
    graph = _only(content, Part(0, 0, len(content)), _MODEL_GRAPH, "graph")
    valued, inputs, outputs = set(), [], []
    for part in parts(content, graph.begin, graph.end):
        if part.number == _GRAPH_INITIALIZER:
            valued.add(_name(content, part, _TENSOR_NAME))
        elif part.number == _GRAPH_SPARSE:
            values = _only(content, part, _SPARSE_VALUES, "values of a sparse initializer")
            valued.add(_name(content, values, _TENSOR_NAME))
        elif part.number == _GRAPH_INPUT:
            inputs.append((_name(content, part, _VALUE_NAME), part))
        elif part.number == _GRAPH_OUTPUT:
            outputs.append((_name(content, part, _VALUE_NAME), part))
    taken = [(name, part) for name, part in inputs if name not in valued]
    return Signature(
        _side("input", taken, lambda part: _onnx_tensor(content, part)),
        _side("output", outputs, lambda part: _onnx_tensor(content, part)),
    )


def _onnx_tensor(content: bytes, value: Part) -> Tensor:
    kind = _only(content, value, _VALUE_TYPE, "type")
    for part in parts(content, kind.begin, kind.end):
        if (other := _OTHER_TYPES.get(part.number)) is not None:
            raise NotDescribed(f"is {other}, no tensor")
    tensor = _only(content, kind, _TYPE_TENSOR, "type of a tensor")
    datatype = _datatype(_ONNX_TYPES, _number(content, tensor, _TENSOR_ELEMENT))
    shape = _only(content, tensor, _TENSOR_SHAPE, "shape")
    sizes = (part for part in parts(content, shape.begin, shape.end) if part.number == _SHAPE_SIZE)
    # A size that has a name, or nothing, is free.
    return Tensor(datatype, tuple(_size(_number(content, size, _SIZE_VALUE, FREE)) for size in sizes))


def _of_saved_model(content: bytes) -> Signature:
    graphs = [part for part in parts(content, 0, len(content)) if part.number == _META_GRAPH]
    served = [graph for graph in graphs if _tags(content, graph) == [_TAG]]
    if len(served) != 1:
        raise NotDescribed(f"{len(served)} of its {len(graphs)} graphs have the tag {_TAG}, and it has to be one")
    signature = _only_entry(content, served[0], _META_SIGNATURE, SERVED)
    return Signature(
        _infos(content, signature, _SIGNATURE_INPUTS, "input"),
        _infos(content, signature, _SIGNATURE_OUTPUTS, "output"),
    )


def _tags(content: bytes, graph: Part) -> list[str]:
    abouts = [part for part in parts(content, graph.begin, graph.end) if part.number == _META_ABOUT]
    return [
        _text(content, part)
        for about in abouts
        for part in parts(content, about.begin, about.end)
        if part.number == _ABOUT_TAG
    ]


def _only_entry(content: bytes, message: Part, number: int, key: str) -> Part:
    """The value of a key of a map."""
    entries = [part for part in parts(content, message.begin, message.end) if part.number == number]
    found = [entry for entry in entries if _name(content, entry, _KEY) == key]
    if len(found) != 1:
        raise NotDescribed(f"it has {'several signatures' if found else 'no signature'} {key}")
    return _only(content, found[0], _VALUE, f"signature {key}")


def _infos(content: bytes, signature: Part, number: int, kind: str) -> dict[str, Tensor]:
    entries = [part for part in parts(content, signature.begin, signature.end) if part.number == number]
    # Sorted: a map has no order, and the file's may be another one each time that it is written.
    named = sorted((_name(content, entry, _KEY), entry) for entry in entries)
    return _side(kind, named, lambda entry: _info(content, _only(content, entry, _VALUE, "description")))


def _info(content: bytes, info: Part) -> Tensor:
    if all(part.number != _INFO_NAME for part in parts(content, info.begin, info.end)):
        raise NotDescribed("is no dense tensor")
    datatype = _datatype(_TENSORFLOW_TYPES, _number(content, info, _INFO_TYPE))
    shape = _only(content, info, _INFO_SHAPE, "shape")
    if _number(content, shape, _RANK_UNKNOWN):
        raise NotDescribed("has no fixed number of dimensions")
    sizes = (part for part in parts(content, shape.begin, shape.end) if part.number == _RANK_SIZE)
    return Tensor(datatype, tuple(_size(_number(content, size, 1)) for size in sizes))


def _side(kind: str, named: Iterable[tuple[str, Part]], tensor: Callable[[Part], Tensor]) -> dict[str, Tensor]:
    """All inputs, or outputs; what cannot be said of one is said with its name."""
    found: dict[str, Tensor] = {}
    for name, part in named:
        if name in found or len(found) == _MOST_NAMES:
            told = f"two {kind}s are called {name!r}" if name in found else f"it has over {_MOST_NAMES} {kind}s"
            raise NotDescribed(told)
        try:
            found[name] = tensor(part)
        except NotDescribed as error:
            raise NotDescribed(f"{kind} {name!r} {error}") from error
    return found


def _only(content: bytes, message: Part, number: int, called: str) -> Part:
    """A field that a message has once. Readers of protobuf merge one that is there twice; nobody writes it so."""
    found = [part for part in parts(content, message.begin, message.end) if part.number == number]
    if len(found) != 1:
        raise NotDescribed(f"has {'more than one' if found else 'no'} {called}")
    return found[0]


def _name(content: bytes, message: Part, number: int) -> str:
    found = [part for part in parts(content, message.begin, message.end) if part.number == number]
    return _text(content, found[-1]) if found else ""


def _number(content: bytes, message: Part, number: int, absent: int = 0) -> int:
    found = [
        field.value
        for field in fields(content, message.begin, message.end)
        if isinstance(field, Number) and field.number == number
    ]
    return found[-1] if found else absent


def _datatype(names: Mapping[int, str], number: int) -> str:
    if (name := names.get(number)) is None:
        raise NotDescribed(f"has values of type {number}, for which the Open Inference Protocol has no word")
    return name


def _size(size: int) -> int:
    return size if size >= 0 else FREE


def _text(content: bytes, part: Part) -> str:
    try:
        return content[part.begin : part.end].decode()
    except UnicodeDecodeError as error:
        raise NotDescribed("has a name that is no UTF-8") from error


_READERS: Mapping[str, Callable[[bytes], Signature]] = {
    ModelFormat.ONNX: _of_onnx,
    ModelFormat.TENSORFLOW: _of_saved_model,
}
