"""Why ONNX Runtime cannot load a model that is not corrupt, and what to do about it."""

from __future__ import annotations

import re

from headrace_serving.failures import Reason
from headrace_serving.refusals import Refusal

_OWN_OPERATORS = (
    "Only the operators of ONNX and those that come with ONNX Runtime are here: export the model without {operator!r}, "
    "or put what it computes before or behind the model."
)

REFUSALS = (
    Refusal(
        re.compile(r"Unsupported model IR version: (?P<own>\d+), max supported IR version: (?P<highest>\d+)"),
        Reason.MODEL_UNSUPPORTED,
        "The model has IR version {own}; ONNX Runtime takes at most {highest}.",
        "Export with an IR version of at most {highest}: with an onnx package as old as that, or by setting ir_version "
        "of the model.",
    ),
    Refusal(
        re.compile(r"Opset (?P<own>\d+) is under .* for domain (?P<domain>\S+) is till opset (?P<highest>\d+)"),
        Reason.MODEL_UNSUPPORTED,
        "The model has opset {own} of {domain}; ONNX Runtime takes at most {highest}.",
        "Export with an opset of at most {highest}.",
    ),
    Refusal(
        re.compile(r"No Op registered for (?P<operator>\S+) with domain_version of (?P<opset>\d+)"),
        Reason.MODEL_UNSUPPORTED,
        "There is no operator {operator!r} in opset {opset}, which the model has.",
        "Export with the opset that the operator is of; one that is not ONNX's own cannot be computed.",
    ),
    Refusal(
        re.compile(r"Fatal error: (?P<operator>\S+?)\(-?\d+\) is not a registered function/op"),
        Reason.MODEL_UNSUPPORTED,
        "There is no operator {operator!r}.",
        _OWN_OPERATORS,
    ),
    Refusal(
        re.compile(r'In Node, \(".*?", (?P<operator>[^,]+), .*No opset import for domain \'(?P<domain>.*?)\''),
        Reason.MODEL_UNSUPPORTED,
        "The model uses the operator {operator!r} of {domain!r}, and does not say of which opset.",
        _OWN_OPERATORS,
    ),
    Refusal(
        re.compile(r"Could not find an implementation for (?P<operator>\w+)\((?P<opset>\d+)\)"),
        Reason.MODEL_UNSUPPORTED,
        "ONNX Runtime cannot compute {operator!r} of opset {opset} on a CPU with the types that the model has.",
        "Export with types that it has, mostly float32, or with another opset.",
    ),
    Refusal(
        re.compile(r"Type '(?P<type>[^']*)' of input parameter \(.*\) of operator \((?P<operator>[^)]*)\)"),
        Reason.MODEL_UNSUPPORTED,
        "The operator {operator!r} does not take {type}, which the model gives it.",
        "Export with types that the operator has.",
    ),
    Refusal(
        re.compile(r'External data path does not exist: "(?P<file>.*)"'),
        Reason.MODEL_INCOMPLETE,
        "The model has weights in a file that is not there: {file}.",
        "Export again into the folder of the model: the files of its external data belong beside model.onnx.",
    ),
    Refusal(
        re.compile(r'External data path escapes model directory\. External data path: "(?P<file>.*?)" resolved'),
        Reason.MODEL_INCOMPLETE,
        "The model has weights in a file outside its folder: {file}.",
        "Export again into the folder of the model: the files of its external data belong beside model.onnx, no links.",
    ),
    Refusal(
        re.compile(r"for initializer: (?P<weight>.*?)\. Error: .*Absolute path not allowed"),
        Reason.MODEL_INCOMPLETE,
        "The model has weights in a file outside its folder, by an absolute path: those of {weight!r}.",
        "Export again into the folder of the model: the files of its external data belong beside model.onnx.",
    ),
    Refusal(
        re.compile(r"External initializer: (?P<weight>.*?) offset: .* given file_length: (?P<size>\d+)"),
        Reason.MODEL_INCOMPLETE,
        "The file with the weights of {weight!r} is cut off: it has {size} bytes.",
        "Export the model again, and upload all of its files.",
    ),
)
