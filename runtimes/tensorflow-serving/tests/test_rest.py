"""The REST API as a client of TensorFlow Serving sees it: what is answered, and how everything else is refused."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest
from serving_support import (
    BROKEN_GZIP,
    assert_a_gzip_bomb_is_refused,
    assert_headers_of_64_kilobytes_are_taken_and_longer_ones_stay_secret,
    assert_unpacked_in_one_and_several_members,
)

TOKENS = [[1, 2, 3], [4, 5, 6]]
ROWS = [{"length": 2, "vector": [0.5, -1.0, 2.0]}, {"length": 7, "vector": [3, 1, 0]}]
COLUMNS = {"length": [2, 7], "vector": [[0.5, -1.0, 2.0], [3, 1, 0]]}


def of_keras(model, **inputs: Any) -> dict[str, Any]:
    values = {"length": np.array(inputs["length"]), "vector": np.array(inputs["vector"], dtype=np.float32)}
    return {name: np.asarray(value) for name, value in model(values).items()}


@pytest.mark.parametrize("path", ["/v1/models/m", "/v1/models/m/versions/7", "/v1/models/%6D", "/v1/models/m?x=1"])
def test_the_status_is_that_of_the_highest_version(text_server, path):
    reply = text_server.get(path)

    assert reply.status == 200
    assert reply.json == {
        "model_version_status": [
            {"version": "7", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        ]
    }


@pytest.mark.parametrize("path", ["/v1/models/m/metadata", "/v1/models/m/versions/7/metadata"])
def test_metadata_has_the_official_form(text_server, path):
    reply = text_server.get(path)

    assert reply.status == 200
    assert reply.json["model_spec"] == {"name": "m", "signature_name": "", "version": "7"}
    signature = reply.json["metadata"]["signature_def"]["signature_def"]["serving_default"]
    (tokens,) = signature["inputs"].values()
    assert list(signature["inputs"]) == ["tokens"]
    assert tokens["dtype"] == "DT_INT32"
    assert tokens["tensor_shape"] == {
        "dim": [{"size": "-1", "name": ""}, {"size": "-1", "name": ""}],
        "unknown_rank": False,
    }
    (output,) = signature["outputs"].values()
    assert [dim["size"] for dim in output["tensor_shape"]["dim"]] == ["-1", "50"]
    assert signature["method_name"] == "tensorflow/serving/predict"


def test_rows_of_a_single_input_and_output_are_bare(text_server, models):
    reply = text_server.predict({"instances": TOKENS})

    assert reply.status == 200, reply.body
    expected = np.asarray(models.text.model(np.array(TOKENS)))
    np.testing.assert_allclose(reply.json["predictions"], expected, atol=1e-6, rtol=0)
    assert list(reply.json) == ["predictions"]


def test_a_single_input_may_be_named(text_server):
    bare = text_server.predict({"instances": TOKENS}).json["predictions"]
    assert text_server.predict({"instances": [{"tokens": row} for row in TOKENS]}).json["predictions"] == bare
    assert text_server.predict({"inputs": TOKENS}).json == {"outputs": bare}
    assert text_server.predict({"inputs": {"tokens": TOKENS}}).json == {"outputs": bare}


def test_rows_of_several_inputs_and_outputs_are_objects(many_server, models):
    reply = many_server.predict({"instances": ROWS})

    assert reply.status == 200, reply.body
    expected = of_keras(models.many.model, **COLUMNS)
    for name in ("total", "shares"):
        got = [row[name] for row in reply.json["predictions"]]
        np.testing.assert_allclose(got, expected[name], atol=1e-6, rtol=1e-6)


def test_columns_of_several_inputs_and_outputs_are_objects(many_server, models):
    reply = many_server.predict({"signature_name": "serving_default", "inputs": COLUMNS})

    assert reply.status == 200, reply.body
    expected = of_keras(models.many.model, **COLUMNS)
    assert set(reply.json["outputs"]) == {"total", "shares"}
    for name, got in reply.json["outputs"].items():
        np.testing.assert_allclose(got, expected[name], atol=1e-6, rtol=1e-6)


def test_numbers_come_back_as_the_shortest_text_of_the_same_float32(text_server):
    predictions = text_server.predict({"instances": TOKENS}).json["predictions"]

    for value in np.ravel(predictions):
        assert repr(float(value)) == str(np.float32(value))


def test_every_type_goes_in_and_comes_out(many_server):
    values: dict[str, list[Any]] = {
        "bool": [True, False],
        "int8": [-128, 127],
        "int16": [-32768, 32767],
        "int32": [-(2**31), 2**31 - 1],
        "int64": [-(2**63), 2**63 - 1],
        "uint8": [0, 255],
        "uint16": [0, 65535],
        "uint32": [0, 2**32 - 1],
        "uint64": [0, 2**64 - 1],
        "float16": [0.5, -2.0],
        "bfloat16": [0.5, 3],
        "float32": [0.1, 3.4e38],
        "float64": [0.1, 1.7e308],
        "string": ["", "héllo \u0000 wörld"],
    }
    inputs = {f"{name}_in": data for name, data in values.items()}

    reply = many_server.predict({"signature_name": "types", "inputs": inputs})

    assert reply.status == 200, reply.body
    assert reply.json["outputs"] == values
    rows = [{name: data[row] for name, data in inputs.items()} for row in (0, 1)]
    by_row = many_server.predict({"signature_name": "types", "instances": rows})
    assert by_row.json["predictions"] == [{name: data[row] for name, data in values.items()} for row in (0, 1)]


def test_bytes_are_base64_in_and_out_where_the_name_says_so(many_server):
    content = bytes(range(250, 256)) + b"\0"
    encoded = {"b64": base64.b64encode(content).decode()}

    reply = many_server.predict({"signature_name": "texts", "instances": [encoded, "text"]})

    assert reply.status == 200, reply.body
    assert reply.json["predictions"][0]["raw_bytes"] == encoded
    assert reply.json["predictions"][1] == {"text": "text", "raw_bytes": {"b64": "dGV4dA=="}}


def test_a_vocabulary_is_loaded_with_the_model(many_server):
    reply = many_server.predict({"signature_name": "lookup", "instances": ["two", "one", "zero"]})
    assert reply.json == {"predictions": [2, 1, 0]}


def test_numbers_that_json_does_not_have_are_written_and_read_by_name(many_server):
    reply = many_server.predict({"signature_name": "logarithm", "instances": [-1, 0, 1, 0.1]})
    assert reply.body == b'{"predictions":[NaN,-Infinity,0.0,-2.3025851]}'

    again = many_server.predict(b'{"signature_name": "logarithm", "inputs": [Infinity, NaN, 1]}')
    assert again.body == b'{"outputs":[Infinity,NaN,0.0]}'


@pytest.mark.parametrize("values", [b"[1, 1e400]", b"[NaN, 1e400]", b"[-1e400, Infinity]"])
def test_a_number_out_of_range_is_refused_also_beside_words_for_numbers(many_server, values):
    reply = many_server.predict(b'{"signature_name": "logarithm", "inputs": ' + values + b"}")
    assert reply.status == 400


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_body_is_utf_8_also_beside_words_for_numbers(many_server, encoding):
    body = '{"signature_name": "logarithm", "inputs": [NaN], "NaN": 0}'
    assert many_server.predict(body.encode(encoding)).status == 400


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"instances": [1], "signature_name": "other"}, "logarithm, lookup, number, "),
        ({"instances": [{"length": 1, "vector": [1, 2, 3], "height": 2}]}, "'height'"),
        ({"instances": [{"length": 1}]}, "exactly length, vector"),
        ({"inputs": {"length": [1]}}, "vector"),
    ],
)
def test_a_refusal_names_what_is_unknown_or_missing(many_server, body, told):
    assert told in many_server.predict(body).json["error"]


def test_an_output_without_rows_comes_in_columns_only(many_server):
    assert many_server.predict({"signature_name": "sum", "inputs": [1, 2.5]}).json == {"outputs": 3.5}

    refused = many_server.predict({"signature_name": "sum", "instances": [1, 2.5]})
    assert refused.status == 400
    assert "inputs" in refused.json["error"]


def test_a_gzip_body_is_unpacked_also_in_several_members(text_server):
    assert_unpacked_in_one_and_several_members(text_server, json.dumps({"instances": TOKENS}).encode())


def test_a_client_that_asks_before_it_sends_is_told_to_go_on(text_server):
    assert text_server.predict({"instances": TOKENS}, {"Expect": "100-continue"}).status == 200


BAD_BODIES: dict[str, Any] = {
    "empty": b"",
    "not JSON": b"{",
    "not UTF-8": b'{"instances":"\xff"}',
    "deep nesting": b"[" * 100_000,
    "deep nesting of NaN": b"[" * 100_000 + b"NaN",
    "deep tensor": {"instances": json.loads("[" * 200 + "1" + "]" * 200)},
    "a list": [],
    "neither form": {},
    "both forms": {"instances": TOKENS, "inputs": TOKENS},
    "instances null": {"instances": None},
    "instances empty": {"instances": []},
    "instances an object": {"instances": {"tokens": TOKENS}},
    "signature not a text": {"instances": TOKENS, "signature_name": 1},
    "unknown signature": {"instances": TOKENS, "signature_name": "other"},
    "unknown input": {"instances": [{"other": [1, 2]}]},
    "another input": {"instances": [{"tokens": [1, 2], "other": 1}]},
    "input missing in columns": {"inputs": {"other": TOKENS}},
    "objects and values": {"instances": [{"tokens": [1]}, [1]]},
    "values and objects": {"instances": [[1], {"tokens": [1]}]},
    "rank": {"instances": [1, 2, 3]},
    "scalar": {"inputs": 1},
    "null": {"inputs": None},
    "ragged": {"instances": [[1, 2], [3]]},
    "mixed nesting": {"instances": [[1, 2], 3]},
    "mixed nesting the other way": {"instances": [[1, [2]], [3, 4]]},
    "empty rows": {"instances": [[], []]},
    "text": {"instances": [["1", 2]]},
    "bool": {"instances": [[True, 2]]},
    "float": {"instances": [[1.5, 2]]},
    "whole float": {"instances": [[1.0, 2]]},
    "over INT32": {"instances": [[2**31, 2]]},
    "huge": {"instances": [[10**400, 2]]},
    "bytes for a number": {"instances": [[{"b64": "AAAA"}, 2]]},
    "object for a number": {"instances": [[{"x": 1}, 2]]},
}


@pytest.mark.parametrize("body", BAD_BODIES.values(), ids=BAD_BODIES.keys())
def test_a_bad_body_is_refused_with_400_and_a_reason(text_server, body):
    reply = text_server.predict(body)

    assert reply.status == 400
    assert set(reply.json) == {"error"}
    assert reply.json["error"]
    assert "\n" not in reply.json["error"]


@pytest.mark.parametrize(
    ("signature", "inputs"),
    [
        ("logarithm", [1e39]),
        ("logarithm", [10**400]),
        ("logarithm", ["NaN"]),
        ("texts", [1]),
        ("texts", [{"b64": "%"}]),
        ("texts", [{"b64": 1}]),
        ("texts", [{"x": "AAAA"}]),
        ("serving_default", [1, 2]),
        ("serving_default", {"length": [1], "vector": [[1, 2]]}),
        ("serving_default", {"length": [1]}),
    ],
)
def test_values_that_do_not_fit_a_signature_are_refused_with_400(many_server, signature, inputs):
    assert many_server.predict({"signature_name": signature, "inputs": inputs}).status == 400


def test_a_token_outside_the_vocabulary_is_the_requests_fault(text_server):
    reply = text_server.predict({"instances": [[1, 50]]})

    assert reply.status == 400
    assert "50 is not in [0, 50)" in reply.json["error"]


def test_an_operation_that_fails_is_the_models_fault(many_server):
    """Not the client's, as far as TensorFlow's status for broken data says."""
    reply = many_server.predict({"signature_name": "unpack", "instances": ["not packed"]})

    assert reply.status == 500
    assert set(reply.json) == {"error"}
    assert "\n" not in reply.json["error"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v1/models", 404),
        ("GET", "/v1/models/other", 404),
        ("GET", "/v1/models/other/metadata", 404),
        ("POST", "/v1/models/other:predict", 404),
        ("GET", "/v1/models/m/versions/8", 404),
        ("GET", "/v1/models/m/versions/8/metadata", 404),
        ("POST", "/v1/models/m/versions/8:predict", 404),
        ("GET", "/v1/models/m/versions/99999999999999999999", 400),
        ("GET", "/v1/models/m/versions/x", 404),
        ("GET", "/v1/models/m/labels/stable", 400),
        ("POST", "/v1/models/m:classify", 404),
        ("GET", "/v1/models/m:predict", 405),
        ("DELETE", "/v1/models/m", 405),
        ("POST", "/v1/models/m", 405),
        ("POST", "/v1/models/m/metadata", 405),
        ("GET", "/v1/models/%FF", 404),
    ],
)
def test_other_paths_and_methods_are_refused_with_a_json_error(text_server, method, path, status):
    reply = text_server.call(method, path, b"" if method == "POST" else None)

    assert reply.status == status
    assert set(reply.json) == {"error"}


def test_a_predictions_version_may_be_named(text_server):
    body = json.dumps({"instances": TOKENS}).encode()
    assert text_server.call("POST", "/v1/models/m/versions/7:predict", body).status == 200


def test_a_body_over_the_limit_is_refused_with_413(text_server):
    assert text_server.predict(b" " * 200_001).status == 413


def test_a_gzip_bomb_is_refused_before_it_is_unpacked(text_server):
    assert_a_gzip_bomb_is_refused(text_server, max_body_bytes=200_000)


@pytest.mark.parametrize("body", BROKEN_GZIP)
def test_a_broken_gzip_body_is_refused_with_400(text_server, body):
    assert text_server.predict(body, {"Content-Encoding": "gzip"}).status == 400


def test_an_unknown_content_encoding_is_refused_with_415(text_server):
    assert text_server.predict(b"{}", {"Content-Encoding": "br"}).status == 415


def test_headers_of_64_kilobytes_are_taken_and_longer_ones_are_refused_without_a_byte_of_them(text_server):
    assert_headers_of_64_kilobytes_are_taken_and_longer_ones_stay_secret(text_server)


def test_a_request_is_to_blame_only_where_the_signature_has_ever_given_an_answer(many_server):
    """The made-up inputs of the warm-up are no numbers: whether it works at all, the first good request shows."""

    def status(text: str) -> int:
        return many_server.predict({"signature_name": "number", "instances": [text]}).status

    assert [status(text) for text in ("one", "1.5", "one")] == [500, 200, 400]
