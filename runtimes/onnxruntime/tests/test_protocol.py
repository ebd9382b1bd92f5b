"""The Open Inference Protocol as a client sees it: what is answered, and how everything else is refused."""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

import numpy as np
import onnxruntime
import pytest
from serving_support import (
    BROKEN_GZIP,
    PATIENCE_SECONDS,
    assert_a_gzip_bomb_is_refused,
    assert_headers_of_64_kilobytes_are_taken_and_longer_ones_stay_secret,
    assert_unpacked_in_one_and_several_members,
)

ROW = [1.0, 2.0, 3.0, 4.0]
WEIGHTS = (np.arange(12, dtype=np.float32).reshape(4, 3) - 5) / 7
BIAS = np.array([0.1, -0.2, 0.3], dtype=np.float32)


def request(data: Any, shape: list[int], **more: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "x", "shape": shape, "datatype": "FP32", "data": data}], **more}


def expected(rows: list[list[float]]) -> np.ndarray[Any, Any]:
    return np.array(rows, dtype=np.float32) @ WEIGHTS + BIAS


@pytest.mark.parametrize("base", ["/v2/models/m", "/v2/models/m/versions/7", "/v2/models/%6D"])
def test_model_metadata_describes_inputs_and_outputs(affine_server, base):
    reply = affine_server.get(base)

    assert reply.status == 200
    assert reply.json == {
        "name": "m",
        "versions": ["7"],
        "platform": "onnx_onnxv1",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 3]}],
    }


@pytest.mark.parametrize(
    "path",
    ["/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/m/ready", "/v2/models/m/versions/7/ready"],
)
def test_probes_and_server_metadata_answer_200(affine_server, path):
    assert affine_server.get(path).status == 200
    assert affine_server.call("HEAD", path).status == 200


@pytest.mark.parametrize(
    ("data", "shape"),
    [
        (ROW, [1, 4]),
        ([ROW], [1, 4]),
        ([1, 2, 3, 4], [1, 4]),
        (ROW + ROW, [2, 4]),
        ([ROW, [5, 6, 7, 8.5]], [2, 4]),
    ],
)
def test_flat_and_nested_data_give_the_models_output(affine_server, data, shape):
    reply = affine_server.infer(request(data, shape, id="abc"))

    assert reply.status == 200
    assert reply.json["model_name"] == "m"
    assert reply.json["model_version"] == "7"
    assert reply.json["id"] == "abc"
    (output,) = reply.json["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("y", "FP32", [shape[0], 3])
    rows = np.array(data, dtype=np.float32).reshape(shape).tolist()
    np.testing.assert_allclose(np.reshape(output["data"], (-1, 3)), expected(rows), rtol=1e-6)


def test_numbers_come_back_as_the_shortest_text_of_the_same_float32(affine_server, models):
    output = affine_server.infer(request(ROW, [1, 4])).json["outputs"][0]["data"]

    engine = onnxruntime.InferenceSession(str(models.affine() / "onnx" / "model.onnx"))
    (computed,) = engine.run(None, {"x": np.array([ROW], dtype=np.float32)})
    assert [repr(value) for value in output] == [str(value) for value in computed[0]]


def test_binary_in_and_out(affine_server):
    header = {
        "inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "parameters": {"binary_data_size": 16}}],
        "outputs": [{"name": "y", "parameters": {"binary_data": True}}],
    }
    encoded = json.dumps(header).encode()
    reply = affine_server.infer(
        encoded + struct.pack("<4f", *ROW), {"Inference-Header-Content-Length": str(len(encoded))}
    )

    assert reply.status == 200
    length = int(reply.headers["Inference-Header-Content-Length"])
    assert json.loads(reply.body[:length])["outputs"][0]["parameters"] == {"binary_data_size": 12}
    np.testing.assert_allclose(struct.unpack("<3f", reply.body[length:]), expected([ROW])[0], rtol=1e-6)


def test_a_gzip_body_is_unpacked_also_in_several_members(affine_server):
    assert_unpacked_in_one_and_several_members(affine_server, json.dumps(request(ROW, [1, 4])).encode())


def test_fields_that_a_client_writes_as_null_are_absent(affine_server):
    body = request(ROW, [1, 4], id=None, parameters=None, outputs=None)
    body["inputs"][0]["parameters"] = None
    assert affine_server.infer(body).status == 200


def test_a_client_that_asks_before_it_sends_is_told_to_go_on(affine_server):
    assert affine_server.infer(request(ROW, [1, 4]), {"Expect": "100-continue"}).status == 200


def test_every_datatype_goes_in_and_comes_out(types_server):
    server = types_server
    values: dict[str, tuple[str, list[Any]]] = {
        "bool": ("BOOL", [True, False]),
        "uint8": ("UINT8", [0, 255]),
        "int8": ("INT8", [-128, 127]),
        "uint16": ("UINT16", [0, 65535]),
        "int16": ("INT16", [-32768, 32767]),
        "uint32": ("UINT32", [0, 2**32 - 1]),
        "int32": ("INT32", [-(2**31), 2**31 - 1]),
        "uint64": ("UINT64", [0, 2**64 - 1]),
        "int64": ("INT64", [-(2**63), 2**63 - 1]),
        "fp16": ("FP16", [0.5, -2.0]),
        "fp32": ("FP32", [0.1, 3.4e38]),
        "fp64": ("FP64", [0.1, 1.7e308]),
        "text": ("BYTES", ["", "héllo \u0000 wörld"]),
    }
    inputs = [
        {"name": name, "shape": [2], "datatype": datatype, "data": data} for name, (datatype, data) in values.items()
    ]

    reply = server.infer({"inputs": inputs})

    assert reply.status == 200, reply.body
    assert {out["name"]: out["data"] for out in reply.json["outputs"]} == {
        f"{name}_out": data for name, (_, data) in values.items()
    }

    as_bytes = server.infer({"inputs": inputs, "parameters": {"binary_data_output": True}})
    length = int(as_bytes.headers["Inference-Header-Content-Length"])
    sent_back = [
        {**out, "name": out["name"].removesuffix("_out")} for out in json.loads(as_bytes.body[:length])["outputs"]
    ]
    body = json.dumps({"inputs": sent_back}).encode()
    again = server.infer(body + as_bytes.body[length:], {"Inference-Header-Content-Length": str(len(body))})
    assert again.json["outputs"] == reply.json["outputs"]


def test_a_byte_order_mark_is_passed_over(affine_server):
    body = b"\xef\xbb\xbf" + json.dumps(request(ROW, [1, 4])).encode()
    assert affine_server.infer(body).status == 200
    assert affine_server.infer(body, {"Inference-Header-Content-Length": str(len(body))}).status == 200


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "nan", "inf", "-NaN"])
def test_a_word_for_a_number_is_refused_by_its_name(affine_server, word):
    reply = affine_server.infer(json.dumps(request(ROW, [1, 4], id="é\n")).replace("2.0", word).encode())

    assert reply.status == 400
    assert f"the body has {word.removeprefix('-')} at line 1" in reply.json["error"]


@pytest.mark.parametrize(
    ("change", "told"),
    [({"inputs": [{"name": "height"}]}, "no input 'height'"), ({"outputs": [{"name": "width"}]}, "no output 'width'")],
)
def test_a_refusal_names_what_is_unknown(affine_server, change, told):
    assert told in affine_server.infer({**request(ROW, [1, 4]), **change}).json["error"]


def test_a_path_with_the_server_before_it_is_the_same(affine_server):
    """As the request line of a proxy's client has it."""
    with socket.create_connection(affine_server.address, timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(b"GET http://any.example/v2/health/ready?x HTTP/1.1\r\nHost: any.example\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 200 ")


TOO_MANY_ROWS = request([0.0] * 4 * 257, [257, 4])

BAD_BODIES: dict[str, Any] = {
    "empty": b"",
    "not JSON": b"{",
    "NaN literal": b'{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[NaN,1,2,3]}]}',
    "not UTF-8": b'{"inputs":"\xff"}',
    "deep nesting": b"[" * 100_000,
    "a list": [],
    "no inputs": {},
    "inputs null": {"inputs": None},
    "inputs empty": {"inputs": []},
    "input not an object": {"inputs": [1]},
    "unknown input": {"inputs": [{"name": "z", "shape": [1, 4], "datatype": "FP32", "data": ROW}]},
    "name not a text": {"inputs": [{"name": ["x"], "shape": [1, 4], "datatype": "FP32", "data": ROW}]},
    "input twice": {"inputs": request(ROW, [1, 4])["inputs"] * 2},
    "wrong datatype": {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP64", "data": ROW}]},
    "no datatype": {"inputs": [{"name": "x", "shape": [1, 4], "data": ROW}]},
    "no shape": {"inputs": [{"name": "x", "datatype": "FP32", "data": ROW}]},
    "no data": {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32"}]},
    "shape of a text": request(ROW, ["1", 4]),  # type: ignore[list-item]
    "shape of a float": request(ROW, [1.0, 4]),  # type: ignore[list-item]
    "shape of a bool": request(ROW, [True, 4]),
    "rank": request(ROW, [4]),
    "fixed dimension": request(ROW, [4, 1]),
    "negative": request(ROW, [-1, 4]),
    "no rows": request([], [0, 4]),
    "64 bits": request(ROW, [2**62, 4]),
    "more than 64 bits": request(ROW, [2**70, 4]),
    "too many rows": TOO_MANY_ROWS,
    "too few values": request(ROW[:3], [1, 4]),
    "too many values": request(ROW * 2, [1, 4]),
    "ragged": request([ROW, ROW[:3]], [2, 4]),
    "wrongly nested": request([ROW, ROW], [1, 4]),
    "nested too deep": request([[[value] for value in ROW]], [1, 4]),
    "mixed nesting": request([ROW, 1, 2, 3, 4], [2, 4]),
    "null": request([None, 1, 2, 3], [1, 4]),
    "text": request(["1", 2, 3, 4], [1, 4]),
    "bool": request([True, 2, 3, 4], [1, 4]),
    "object": request([{}, 2, 3, 4], [1, 4]),
    "over FP32": request([1e39, 2, 3, 4], [1, 4]),
    "huge integer": request([10**400, 2, 3, 4], [1, 4]),
    "id not a text": request(ROW, [1, 4], id=7),
    "parameters not an object": request(ROW, [1, 4], parameters=[]),
    "flag not a bool": request(ROW, [1, 4], parameters={"binary_data_output": "yes"}),
    "outputs not a list": request(ROW, [1, 4], outputs={}),
    "unknown output": request(ROW, [1, 4], outputs=[{"name": "z"}]),
    "output twice": request(ROW, [1, 4], outputs=[{"name": "y"}] * 2),
    "binary size beyond the body": {
        "inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "parameters": {"binary_data_size": 16}}]
    },
    "binary size negative": {
        "inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "parameters": {"binary_data_size": -1}}]
    },
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES.keys())
def test_a_bad_body_is_refused_with_400_and_a_reason(affine_server, body):
    reply = affine_server.infer(body)

    assert reply.status == 400
    assert set(reply.json) == {"error"}
    assert reply.json["error"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v2/models/other", 404),
        ("POST", "/v2/models/other/infer", 404),
        ("GET", "/v2/models/m/versions/8", 404),
        ("POST", "/v2/models/m/versions/8/infer", 404),
        ("GET", "/v2/models/m/infer", 405),
        ("DELETE", "/v2/models/m", 405),
        ("POST", "/v2/health/ready", 405),
        ("GET", "/v2/models/m%2Finfer", 405),
        ("GET", "/v2/models/%FF", 404),
    ],
)
def test_other_paths_and_methods_are_refused_in_the_protocols_form(affine_server, method, path, status):
    reply = affine_server.call(method, path, b"" if method == "POST" else None)

    assert reply.status == status
    assert set(reply.json) == {"error"}


@pytest.mark.parametrize("length", ["-1", "x", "999999", "1" * 40, "²"])
def test_a_header_length_outside_the_body_is_refused(affine_server, length):
    header = {"Inference-Header-Content-Length": length.encode().decode("latin-1")}
    assert affine_server.infer(request(ROW, [1, 4]), header).status == 400


def test_bytes_after_the_last_input_are_refused(affine_server):
    body = json.dumps(request(ROW, [1, 4])).encode()
    assert affine_server.infer(body + b"rest", {"Inference-Header-Content-Length": str(len(body))}).status == 400


def test_a_body_over_the_limit_is_refused_with_413(affine_server):
    assert affine_server.infer(b" " * 200_001).status == 413


def test_a_gzip_bomb_is_refused_before_it_is_unpacked(affine_server):
    assert_a_gzip_bomb_is_refused(affine_server, max_body_bytes=200_000)


@pytest.mark.parametrize("body", BROKEN_GZIP)
def test_a_broken_gzip_body_is_refused_with_400(affine_server, body):
    assert affine_server.infer(body, {"Content-Encoding": "gzip"}).status == 400


def test_an_unknown_content_encoding_is_refused_with_415(affine_server):
    assert affine_server.infer(b"{}", {"Content-Encoding": "br"}).status == 415


def test_headers_of_64_kilobytes_are_taken_and_longer_ones_are_refused_without_a_byte_of_them(affine_server):
    assert_headers_of_64_kilobytes_are_taken_and_longer_ones_stay_secret(affine_server)


def test_numbers_that_json_does_not_have_come_back_as_null_and_are_counted(servers, models):
    server = servers.start(models.logarithm())

    reply = server.infer({"inputs": [{"name": "x", "shape": [3], "datatype": "FP32", "data": [-1, 0, 1]}]})

    assert reply.status == 200
    assert reply.json["outputs"][0]["data"] == [None, None, 0.0]
    metrics = server.metrics()
    assert metrics["headrace_nonfinite_outputs_total"] == 1
    assert metrics['headrace_requests_total{code="200"}'] == 1


@pytest.mark.parametrize("values", [[1.5, 2], ["1", 2], [True, 2], [2**31, 0], [1e300, 0], [None, 1]])
def test_what_is_no_int32_is_refused(tokens_server, values):
    reply = tokens_server.infer({"inputs": [{"name": "tokens", "shape": [1, 2], "datatype": "INT32", "data": values}]})
    assert reply.status == 400


def test_whole_numbers_written_as_floats_are_integers(tokens_server):
    reply = tokens_server.infer(
        {"inputs": [{"name": "tokens", "shape": [1, 2], "datatype": "INT32", "data": [1.0, 2]}]}
    )
    assert reply.status == 200
