"""What a model takes and answers: the name, datatype and shape of each input and output, as its clients see them.

signature.json beside the model's formats has it in the Open Inference Protocol's words (`of_file`). A tag of the run,
and of the version that is made of it, has the same in a form that people can read: `as_text`, `parse`, such as
`{"inputs":{"tokens":"INT32 [-1,-1]"},"outputs":{"probabilities":"FP32 [-1,10000]"}}`, sorted by names. Whoever trained
the model wrote both, so what they say is bounded, and a claim.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FREE = -1  # a size that a request may choose
MAX_TEXT = 5000  # characters that a tag in MLflow surely takes
UNKNOWN = "unknown"  # the tag of a run whose model is not described: it replaces what an earlier attempt has left
_MAX_FILE = 1024 * 1024
_MAX_NAME = 256
_DATATYPE = re.compile("[A-Z][A-Z0-9]{1,9}")
_TENSOR = re.compile(f"({_DATATYPE.pattern}) " r"\[((?:-1|[0-9]{1,18})(?:,(?:-1|[0-9]{1,18}))*)?\]")


@dataclass(frozen=True)
class Tensor:
    """One input or output; `datatype` is the protocol's."""

    datatype: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.datatype} [{','.join(map(str, self.shape))}]"


@dataclass(frozen=True)
class Signature:
    """All inputs and outputs by their names, whose order says nothing."""

    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]

    def as_text(self) -> str:
        """The same text for the same signature."""
        sides = {"inputs": self.inputs, "outputs": self.outputs}
        told = {side: {name: str(tensor) for name, tensor in found.items()} for side, found in sides.items()}
        return json.dumps(told, sort_keys=True, separators=(",", ":"))

    def as_file(self) -> str:
        """The content of signature.json, in the order that the names have here."""
        told = {
            side: [{"name": name, "datatype": each.datatype, "shape": list(each.shape)} for name, each in found.items()]
            for side, found in (("inputs", self.inputs), ("outputs", self.outputs))
        }
        return json.dumps(told, separators=(",", ":"))


def parse(text: str) -> Signature | None:
    """What `as_text` has made, or anybody; None where it describes no model."""
    sides = _sides(text) if len(text) <= MAX_TEXT else None
    if sides is None or not all(isinstance(side, dict) for side in sides):
        return None
    return _signature(*({name: _from_text(told) for name, told in side.items()} for side in sides))


def of_file(path: Path) -> Signature | None:
    """The content of signature.json; None where there is none, or where it does not describe a model."""
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_FILE + 1)
    except OSError:
        return None
    sides = _sides(content) if len(content) <= _MAX_FILE else None
    if sides is None or not all(isinstance(side, list) for side in sides):
        return None
    named: list[dict[str, Tensor | None]] = []
    for side in sides:
        entries = [entry if isinstance(entry, dict) else {} for entry in side]
        tensors = {str(entry.get("name")): _from_entry(entry) for entry in entries}
        if len(tensors) < len(entries):  # two of one name
            return None
        named.append(tensors)
    return _signature(*named)


def tag_of(path: Path) -> str:
    """What a run says of the model beside this signature.json: its text, or UNKNOWN where that is not to be had."""
    found = of_file(path)
    text = UNKNOWN if found is None else found.as_text()
    return text if parse(text) is not None else UNKNOWN


def _sides(content: str | bytes) -> tuple[Any, Any] | None:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return (value.get("inputs"), value.get("outputs")) if isinstance(value, dict) else None


def _signature(inputs: Mapping[str, Tensor | None], outputs: Mapping[str, Tensor | None]) -> Signature | None:
    taken, answered = _known(inputs), _known(outputs)
    return None if taken is None or answered is None else Signature(taken, answered)


def _known(side: Mapping[str, Tensor | None]) -> dict[str, Tensor] | None:
    """Where nothing is described, or only a part is known, nothing can be said of the whole."""
    known = {name: tensor for name, tensor in side.items() if tensor is not None and _is_name(name)}
    return known if known and len(known) == len(side) else None


def _is_name(name: str) -> bool:
    """One that comes back as it is from a tag of one line, and from a message."""
    return 0 < len(name) <= _MAX_NAME and name.isprintable() and " ".join(name.split()) == name


def _from_text(told: Any) -> Tensor | None:
    found = _TENSOR.fullmatch(told) if isinstance(told, str) else None
    if found is None:
        return None
    return Tensor(found[1], tuple(int(size) for size in found[2].split(",")) if found[2] else ())


def _from_entry(entry: Mapping[str, Any]) -> Tensor | None:
    name, datatype, shape = entry.get("name"), entry.get("datatype"), entry.get("shape")
    if not isinstance(name, str) or not isinstance(datatype, str) or not isinstance(shape, list):
        return None
    if not _DATATYPE.fullmatch(datatype) or not all(type(size) is int and size >= FREE for size in shape):
        return None
    return Tensor(datatype, tuple(shape))
