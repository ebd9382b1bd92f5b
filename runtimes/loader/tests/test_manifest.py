"""What a manifest may say, and which files follow from it."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from headrace_loader import manifest
from headrace_loader.failures import LoadError, Reason

SUM = "0" * 64
GOOD: dict[str, Any] = {
    "files": [
        {"path": "onnx/model.onnx", "sha256": SUM, "size": 3},
        {"path": "signature.json", "sha256": SUM, "size": 2},
        {"path": "tensorflow/saved_model.pb", "sha256": SUM, "size": 4},
    ],
    "formats": {"ONNX": "onnx", "TensorFlow": "tensorflow"},
    "protocol": 1,
}


def reason_of(content: Any) -> Reason:
    with pytest.raises(LoadError) as caught:
        manifest.parse(content if isinstance(content, bytes) else json.dumps(content).encode())
    return caught.value.reason


def changed(**fields: Any) -> dict[str, Any]:
    value = copy.deepcopy(GOOD)
    value["files"][0].update(fields)
    return value


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/passwd",
        "..",
        "../x",
        "onnx/../../x",
        "onnx/./x",
        "onnx//x",
        "onnx/",
        "onnx\\..\\x",
        "onnx/\0",
        "onnx/\n",
        "onnx/" + "x" * 256,
        "x/" * 600 + "x",
        "onnx/\ud800",
        "manifest.json",
        7,
        None,
    ],
)
def test_an_unsafe_path_is_refused(path):
    assert reason_of(changed(path=path)) is Reason.MANIFEST_INVALID


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"\xff",
        b"[" * 100_000,
        [],
        {},
        {**GOOD, "protocol": 2},
        {**GOOD, "files": []},
        {**GOOD, "files": [7]},
        {**GOOD, "files": GOOD["files"] * 2},
        {**GOOD, "files": [*GOOD["files"], {"path": "onnx", "sha256": SUM, "size": 1}]},
        {**GOOD, "files": [{"path": f"f{i}", "sha256": SUM, "size": 1} for i in range(10_001)]},
        {**GOOD, "formats": None},
        {**GOOD, "formats": {"ONNX": "../onnx"}},
        {**GOOD, "formats": {"ONNX": 1}},
        changed(size=-1),
        changed(size=1.5),
        changed(size=True),
        changed(size="3"),
        changed(sha256="xyz"),
        changed(sha256=None),
        b'{"files":[],"files":[{"path":"a","sha256":"' + SUM.encode() + b'","size":1}],"formats":{},"protocol":1}',
    ],
    ids=range(21),
)
def test_what_is_no_manifest_is_refused(value):
    assert reason_of(value) is Reason.MANIFEST_INVALID


def planned(formats: tuple[str, ...], layout: dict[str, str]) -> dict[str, str]:
    files = manifest.plan(manifest.parse(json.dumps(GOOD).encode()), formats, layout)
    return {file.path: path for path, file in files.items()}


def test_only_the_formats_asked_for_and_the_signature_are_fetched():
    assert planned(("ONNX",), {}) == {"onnx/model.onnx": "onnx/model.onnx", "signature.json": "signature.json"}


def test_the_layout_moves_a_format_to_another_folder():
    assert planned(("TensorFlow",), {"TensorFlow": "tensorflow/1"}) == {
        "tensorflow/saved_model.pb": "tensorflow/1/saved_model.pb",
        "signature.json": "signature.json",
    }


@pytest.mark.parametrize(
    ("formats", "layout", "reason"),
    [
        (("PMML",), {}, Reason.FORMAT_NOT_FOUND),
        (("ONNX",), {"ONNX": "signature.json"}, Reason.BAD_CONFIG),
        (("ONNX",), {"ONNX": "manifest.json"}, Reason.BAD_CONFIG),
    ],
)
def test_an_impossible_plan_is_refused(formats, layout, reason):
    with pytest.raises(LoadError) as caught:
        planned(formats, layout)
    assert caught.value.reason is reason


def test_a_format_that_was_not_exported_is_explained_by_the_training_jobs_condition():
    with pytest.raises(LoadError) as caught:
        planned(("PMML",), {})

    assert "condition FormatsExported says why the export failed" in caught.value.hint
    assert "a runtime that serves ONNX, TensorFlow" in caught.value.hint


def test_a_format_without_files_is_refused():
    value = {**GOOD, "formats": {"ONNX": "elsewhere"}}
    with pytest.raises(LoadError) as caught:
        manifest.plan(manifest.parse(json.dumps(value).encode()), ("ONNX",), {})
    assert caught.value.reason is Reason.MANIFEST_INVALID
