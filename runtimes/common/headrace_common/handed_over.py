"""Whether a model that somebody hands over can be read: it parses, and no file that it names is missing.

Registered unseen it would fail in a service's pods, or in somebody's rollout. Of each format only the way to what
is looked for is followed; whether the model computes something sensible is the author's matter.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from headrace_common.formats import ModelFormat
from headrace_common.paths import leaves_its_folder
from headrace_common.protobuf import NotProtobuf, Part, Schema, mapped, of_kind, parts

# onnx.proto: which fields lead to tensors.
_ONNX: Schema = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_GRAPH, _TENSOR_NAME, _EXTERNAL_DATA, _KEY, _VALUE = 7, 8, 13, 1, 2
# saved_model.proto, meta_graph.proto, graph.proto: to the nodes of a graph, and to its assets.
_NODES: Schema = {"saved": {2: "meta"}, "meta": {2: "graph"}, "graph": {1: "node"}}
_ASSETS: Schema = {"saved": {2: "meta"}, "meta": {6: "asset"}}
_SIGNATURES: Schema = {"saved": {2: "meta"}, "meta": {5: "signature"}}
_META_GRAPH, _OPERATION, _FILE_NAME = 2, 2, 2
_VARIABLES = {b"VarHandleOp", b"VariableV2", b"Variable"}
_GRAPH_OF_TEXT, _TOKENIZER = "model.onnx", "tokenizer.json"
_SHARD = re.compile(r"variables\.data-\d{5}-of-(\d{5})")


def why_unusable(format: str, path: Path, name: str) -> str | None:
    """What is wrong with the model of this format whose file is `path`; None where nothing is seen. The words call the
    file `name`. Raises whatever a fault of this look raises.
    """
    look = _LOOKS.get(format)
    if look is None:
        return None
    kind, why = look
    try:
        with mapped(path) as content:
            return why(content, path.parent)
    except NotProtobuf as error:
        return f"{name} is no {kind}: {str(error) or 'it is no protobuf'}"
    except OSError as error:
        return f"{name} cannot be read: {error.strerror}"


def files_of_weights(path: Path) -> tuple[str, ...]:
    """The files beside an ONNX file that has no fault which have its weights ("external data")."""
    with mapped(path) as content:
        tensors = of_kind(content, "tensor", _whole(content, _GRAPH), "model", _ONNX)
        found = (_external(content, tensor)[1].get("location") for tensor in tensors)
        return tuple(dict.fromkeys(filter(None, found)))


def signatures(path: Path) -> tuple[str, ...]:
    """The names of the signatures of a SavedModel whose saved_model.pb has no fault."""
    with mapped(path) as content:
        entries = of_kind(content, "signature", _whole(content, _META_GRAPH), "saved", _SIGNATURES)
        return tuple(dict.fromkeys(name for entry in entries for name in _values(content, entry, _KEY)))


def _of_onnx(content: bytes, folder: Path) -> str | None:
    whole = _whole(content, _GRAPH)
    faults = (_of_tensor(content, tensor, folder) for tensor in of_kind(content, "tensor", whole, "model", _ONNX))
    return next(filter(None, faults), None)


def _of_tensor(content: bytes, tensor: Part, folder: Path) -> str | None:
    name, entries = _external(content, tensor)
    if not entries:
        return None
    location = entries.get("location", "")
    if not location or leaves_its_folder(location):
        return f"its weights are in {location or 'no file'}, outside of its folder"
    if "\0" in location or not (folder / location).is_file():
        return f"its weights are in {location}, which was not handed over with it"
    size, needed = (folder / location).stat().st_size, _count(entries, "offset") + _count(entries, "length")
    return f"{location} has {size} bytes, and the weights {name} end at byte {needed}" if size < needed else None


def _external(content: bytes, tensor: Part) -> tuple[str, Mapping[str, str]]:
    """The tensor's name, and where its values are; empty where they are in the file itself."""
    name, entries = "", {}
    for number, begin, end in parts(content, tensor.begin, tensor.end):
        if number == _TENSOR_NAME:
            name = _text(content, begin, end)
        elif number == _EXTERNAL_DATA:
            entry = {part.number: _text(content, part.begin, part.end) for part in parts(content, begin, end)}
            entries[entry.get(_KEY, "")] = entry.get(_VALUE, "")
    return name, entries


def _count(entries: Mapping[str, str], name: str) -> int:
    text = entries.get(name, "0")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else 0


def _of_saved_model(content: bytes, folder: Path) -> str | None:
    whole = _whole(content, _META_GRAPH)
    missing = [
        f"assets/{name}"
        for asset in of_kind(content, "asset", whole, "saved", _ASSETS)
        for name in _values(content, asset, _FILE_NAME)
        if not _is_file(folder / "assets", name)
    ]
    has_variables = any(
        content[part.begin : part.end] in _VARIABLES
        for node in of_kind(content, "node", whole, "saved", _NODES)
        for part in parts(content, node.begin, node.end)
        if part.number == _OPERATION
    )
    missing += _missing_variables(folder / "variables") if has_variables else []
    return f"{missing[0]} was not handed over with it" if missing else None


def _missing_variables(folder: Path) -> list[str]:
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if "variables.index" not in names:
        return ["variables/variables.index"]
    shards = [match for name in sorted(names) if (match := _SHARD.fullmatch(name))]
    if not shards:
        return ["variables/variables.data-…"]
    wanted = (f"variables.data-{number:05}-of-{shards[0][1]}" for number in range(int(shards[0][1])))
    return [f"variables/{name}" for name in wanted if name not in names][:1]


def _whole(content: bytes, needed: int) -> Part:
    """The outermost message, which cannot be without the field `needed`."""
    if all(part.number != needed for part in list(parts(content, 0, len(content)))):
        raise NotProtobuf("it has no graph")
    return Part(0, 0, len(content))


def _values(content: bytes, message: Part, number: int) -> list[str]:
    found = parts(content, message.begin, message.end)
    return [_text(content, part.begin, part.end) for part in found if part.number == number]


def _is_file(folder: Path, name: str) -> bool:
    return bool(name) and "\0" not in name and not leaves_its_folder(name) and (folder / name).is_file()


def _text(content: bytes, begin: int, end: int) -> str:
    return content[begin:end].decode(errors="replace")


def _of_text(content: bytes, folder: Path) -> str | None:
    """Of a decoder's genai_config.json: the graph that it names, and the tokenizer beside it."""
    try:
        config = json.loads(bytes(content[:]))
        name = config["model"]["decoder"].get("filename", _GRAPH_OF_TEXT)
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return "it is no JSON with model.decoder in it, as onnxruntime-genai has it"
    for needed in (name, _TOKENIZER):
        if not isinstance(needed, str) or not _is_file(folder, needed):
            return f"{needed}, which it needs, was not handed over with it"
    try:
        with mapped(folder / name) as graph:
            return _of_onnx(graph, (folder / name).parent)
    except NotProtobuf as error:
        return f"{name} is no ONNX model: {str(error) or 'it is no protobuf'}"


_LOOKS: Mapping[str, tuple[str, Callable[[bytes, Path], str | None]]] = {
    ModelFormat.ONNX: ("ONNX model", _of_onnx),
    ModelFormat.TENSORFLOW: ("SavedModel", _of_saved_model),
    ModelFormat.TEXT: ("config of a decoder", _of_text),
}
