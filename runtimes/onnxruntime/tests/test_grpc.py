"""The Open Inference Protocol over gRPC, as published clients see it; and that it answers as over HTTP."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_requests import INFER, NO_PROXY, outputs_of, refused, request, rows
from hypothesis import given
from hypothesis import strategies as st
from serving_fuzz import examples
from serving_load import wait_for_metric
from serving_support import PATIENCE_SECONDS, free_ports
from tritonclient.grpc import service_pb2, service_pb2_grpc

from headrace_onnxruntime.inferences import Inferences
from headrace_onnxruntime.metrics import Metrics
from headrace_onnxruntime.rpc.service import RpcService
from headrace_onnxruntime.settings import parse
from headrace_serving.gate import Gate

ROW = [1.0, 2.0, 3.0, 4.0]
WEIGHTS = (np.arange(12, dtype=np.float32).reshape(4, 3) - 5) / 7
BIAS = np.array([0.1, -0.2, 0.3], dtype=np.float32)
CODES = grpc.StatusCode
DTYPES = {
    "bool": "?",
    "uint8": "u1",
    "int8": "i1",
    "uint16": "<u2",
    "int16": "<i2",
    "uint32": "<u4",
    "int32": "<i4",
    "uint64": "<u8",
    "int64": "<i8",
    "fp16": "<f2",
    "fp32": "<f4",
    "fp64": "<f8",
}


def input_x(client: Any) -> Any:
    tensor = client.InferInput("x", [1, 4], "FP32")
    tensor.set_data_from_numpy(np.array([ROW], dtype=np.float32))
    return tensor


def test_tritons_client_works_unchanged(affine_server):
    with tritonclient.grpc.InferenceServerClient(affine_server.target, channel_args=NO_PROXY) as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready("m")
        assert client.is_model_ready("m", "7")
        assert client.get_server_metadata(as_json=True) == {"name": "headrace-onnxruntime", "version": "0.1.0"}
        assert client.get_model_metadata("m", as_json=True) == {
            "name": "m",
            "versions": ["7"],
            "platform": "onnx_onnxv1",
            "inputs": [{"name": "x", "datatype": "FP32", "shape": ["-1", "4"]}],
            "outputs": [{"name": "y", "datatype": "FP32", "shape": ["-1", "3"]}],
        }
        wanted = [tritonclient.grpc.InferRequestedOutput("y")]
        for compression in (None, "gzip", "deflate"):
            result = client.infer(
                "m",
                [input_x(tritonclient.grpc)],
                outputs=wanted,
                request_id="abc",
                parameters={"text": "a", "number": 1, "flag": True},
                compression_algorithm=compression,
            )
            np.testing.assert_allclose(result.as_numpy("y"), np.array([ROW]) @ WEIGHTS + BIAS, rtol=1e-6)
            answer = result.get_response()
            assert (answer.model_name, answer.model_version, answer.id) == ("m", "7", "abc")


def test_tritons_client_of_asyncio_works_unchanged(affine_server):
    async def asked() -> Any:
        async with tritonclient.grpc.aio.InferenceServerClient(affine_server.target, channel_args=NO_PROXY) as client:
            assert await client.is_model_ready("m")
            results = await asyncio.gather(
                *(client.infer("m", [input_x(tritonclient.grpc.aio)], model_version="7") for _ in range(20))
            )
            return [result.as_numpy("y") for result in results]

    for answer in asyncio.run(asked()):
        np.testing.assert_allclose(answer, np.array([ROW]) @ WEIGHTS + BIAS, rtol=1e-6)


def test_every_datatype_goes_in_as_it_may_and_comes_out_raw(types_server, servers, models):
    values: dict[str, list[Any]] = {
        "bool": [True, False],
        "uint8": [0, 255],
        "int8": [-128, 127],
        "uint16": [0, 65535],
        "int16": [-32768, 32767],
        "uint32": [0, 2**32 - 1],
        "int32": [-(2**31), 2**31 - 1],
        "uint64": [0, 2**64 - 1],
        "int64": [-(2**63), 2**63 - 1],
        "fp16": [0.5, -2.0],
        "fp32": [0.1, float("inf")],
        "fp64": [0.1, -1.7e308],
    }
    raw = {name: np.array(data, dtype=DTYPES[name]).tobytes() for name, data in values.items()}
    values["text"], raw["text"] = ["", "héllo"], b"\0\0\0\0\x06\0\0\0h\xc3\xa9llo"
    datatypes = {name: "BYTES" if name == "text" else name.upper() for name in values}
    expected = {f"{name}_out": (datatypes[name], [2], raw[name]) for name in values}

    def entries(data: dict[str, Any]) -> list[dict[str, Any]]:
        return [
            {"name": name, "datatype": datatypes[name], "shape": [2], "data": value} for name, value in data.items()
        ]

    assert outputs_of(types_server.stub.ModelInfer(request(*entries(raw)), timeout=PATIENCE_SECONDS)) == expected

    # FP16 has no typed contents.
    del values["fp16"], expected["fp16_out"]
    server = servers.start(models.every_type(but="fp16"))
    assert outputs_of(server.stub.ModelInfer(request(*entries(values)), timeout=PATIENCE_SECONDS)) == expected


def test_fp16_comes_raw_only(types_server):
    message = request({"name": "fp16", "datatype": "FP16", "shape": [1], "data": [0.5], "field": "fp32_contents"})
    error = refused(lambda: types_server.stub.ModelInfer(message, timeout=PATIENCE_SECONDS))
    assert error.code() is CODES.INVALID_ARGUMENT
    assert error.details() == "input 'fp16' is FP16, which comes in raw_input_contents only"


def test_typed_contents_beside_raw_ones_are_refused(types_server):
    typed = {"name": "int8", "datatype": "INT8", "shape": [1], "data": [1]}
    raw = {"name": "uint8", "datatype": "UINT8", "shape": [1], "data": b"\1"}
    message = request(typed, raw)
    error = refused(lambda: types_server.stub.ModelInfer(message, timeout=PATIENCE_SECONDS))
    assert error.details() == "raw_input_contents has 1 entries for 2 inputs"
    message.raw_input_contents.append(b"")
    error = refused(lambda: types_server.stub.ModelInfer(message, timeout=PATIENCE_SECONDS))
    assert error.details() == "input 'int8' has contents beside raw_input_contents"


def ask_both(server: Any, entries: list[dict[str, Any]], typed: bool) -> tuple[Any, Any]:
    """What the same inputs get over HTTP and gRPC: outputs as bytes, or the words of the refusal."""
    blob = b"".join(entry["data"] for entry in entries)
    header = json.dumps(
        {
            "inputs": [
                {**entry, "data": None, "parameters": {"binary_data_size": len(entry["data"])}} for entry in entries
            ],
            "parameters": {"binary_data_output": True},
        }
    )
    encoded = header.replace('"data": null, ', "").encode()
    reply = server.infer(encoded + blob, {"Inference-Header-Content-Length": str(len(encoded))})
    if reply.status == 200:
        length = int(reply.headers["Inference-Header-Content-Length"])
        by_http: Any = {}
        for output in json.loads(reply.body[:length])["outputs"]:
            size = output["parameters"]["binary_data_size"]
            by_http[output["name"]] = (output["datatype"], output["shape"], reply.body[length : length + size])
            length += size
    else:
        by_http = (reply.status, reply.json["error"])
    if typed:
        dtype = {"FP32": "<f4", "INT32": "<i4"}
        entries = [
            {**entry, "data": np.frombuffer(entry["data"], dtype[entry["datatype"]]).tolist()} for entry in entries
        ]
    try:
        by_grpc: Any = outputs_of(server.stub.ModelInfer(request(*entries), timeout=PATIENCE_SECONDS))
    except grpc.RpcError as error:
        by_grpc = ({CODES.INVALID_ARGUMENT: 400}.get(error.code()), error.details())
    return by_http, by_grpc


@examples(60)
@given(
    shape=st.lists(st.integers(0, 5), min_size=1, max_size=3),
    seed=st.integers(0, 2**32 - 1),
    scale=st.sampled_from([1, 1e30, float("inf"), float("nan")]),
    typed=st.booleans(),
)
def test_numbers_have_the_same_answers_over_http_and_grpc(affine_server, shape, seed, scale, typed):
    values = np.random.default_rng(seed).standard_normal([*shape[:-1], 4 if shape[-1] > 1 else shape[-1]])
    x = (values * scale).astype("<f4")
    entries = [{"name": "x", "datatype": "FP32", "shape": list(x.shape), "data": x.tobytes()}]
    by_http, by_grpc = ask_both(affine_server, entries, typed)
    assert by_http == by_grpc


@examples(60)
@given(
    rows=st.integers(1, 3),
    length=st.integers(1, 4),
    seed=st.integers(0, 2**32 - 1),
    largest=st.sampled_from([50, 52]),
    typed=st.booleans(),
)
def test_tokens_have_the_same_answers_over_http_and_grpc(tokens_server, rows, length, seed, largest, typed):
    tokens = np.random.default_rng(seed).integers(0, largest, size=(rows, length), dtype="<i4")
    entries = [{"name": "tokens", "datatype": "INT32", "shape": [rows, length], "data": tokens.tobytes()}]
    by_http, by_grpc = ask_both(tokens_server, entries, typed)
    assert by_http == by_grpc


@examples(60)
@given(data=st.data(), number=st.integers(1, 3), sizes=st.integers(-1, 1))
def test_any_bytes_have_the_same_answers_over_http_and_grpc(types_server, data, number, sizes):
    entries = []
    for name, dtype in DTYPES.items():
        size = max(number * np.dtype(dtype).itemsize + (sizes if name == "int8" else 0), 0)
        blob = data.draw(st.binary(min_size=size, max_size=size))
        if name == "bool" and sizes == 0:
            blob = bytes(byte % 2 for byte in blob)
        entries.append({"name": name, "datatype": name.upper(), "shape": [number], "data": blob})
    texts = [data.draw(st.text(max_size=3).map(str.encode) | st.binary(max_size=3)) for _ in range(number)]
    blob = b"".join(len(text).to_bytes(4, "little") + text for text in texts)
    entries.append({"name": "text", "datatype": "BYTES", "shape": [number], "data": blob})
    by_http, by_grpc = ask_both(types_server, entries, typed=False)
    assert by_http == by_grpc


X = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": ROW}


@pytest.mark.parametrize(
    ("inputs", "more"),
    [
        ([], {}),
        ([X, X], {}),
        ([{**X, "name": "height"}], {}),
        ([{**X, "datatype": "FP64"}], {}),
        ([{**X, "shape": [4]}], {}),
        ([{**X, "shape": [1, -4]}], {}),
        ([{**X, "shape": [0, 4], "data": []}], {}),
        ([{**X, "shape": [257, 4]}], {}),
        ([{**X, "shape": [2, 4]}], {}),
        ([X], {"id": "a" * 1025}),
        ([X], {"outputs": ["z"]}),
        ([X], {"outputs": ["y", "y"]}),
    ],
)
def test_a_bad_request_is_refused_with_the_same_words(affine_server, inputs, more):
    fields = {**more, "outputs": [{"name": name} for name in more.get("outputs", [])]}
    reply = affine_server.infer({"inputs": inputs, **fields})
    before = affine_server.metrics()['headrace_requests_total{code="400"}']

    error = refused(lambda: affine_server.stub.ModelInfer(request(*inputs, **fields), timeout=PATIENCE_SECONDS))

    assert (reply.status, error.code()) == (400, CODES.INVALID_ARGUMENT)
    assert error.details() == reply.json["error"]
    assert affine_server.metrics()['headrace_requests_total{code="400"}'] == before + 1


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({**X, "field": "fp64_contents"}, "input 'x' has fp64_contents; FP32 comes in fp32_contents"),
        ({**X, "data": b"abc"}, "input 'x' has 3 bytes of data; the shape [1, 4] needs 16"),
    ],
)
def test_contents_that_are_not_the_inputs_are_refused(affine_server, entry, told):
    error = refused(lambda: affine_server.stub.ModelInfer(request(entry), timeout=PATIENCE_SECONDS))
    assert (error.code(), error.details()) == (CODES.INVALID_ARGUMENT, told)


@pytest.mark.parametrize("datatype", ["UINT8", "INT8", "UINT16", "INT16"])
def test_typed_integers_have_the_range_of_their_datatype(types_server, datatype):
    name = datatype.lower()
    message = request({"name": name, "datatype": datatype, "shape": [1], "data": [70_000]})
    error = refused(lambda: types_server.stub.ModelInfer(message, timeout=PATIENCE_SECONDS))
    assert error.code() is CODES.INVALID_ARGUMENT
    assert error.details() == f"input {name!r} has a value out of the range of {datatype}"


def inferences(metrics: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if name.startswith("headrace_requests_total")}


def test_another_model_and_another_version_are_not_found_and_count_for_none(affine_server):
    stub = affine_server.stub
    before = affine_server.metrics()
    for fields in ({"name": "other"}, {"name": "m", "version": "8"}, {}):
        wanted = service_pb2.ModelReadyRequest(**fields)
        assert (
            refused(lambda wanted=wanted: stub.ModelReady(wanted, timeout=PATIENCE_SECONDS)).code() is CODES.NOT_FOUND
        )
        wanted = service_pb2.ModelMetadataRequest(**fields)
        assert (
            refused(lambda wanted=wanted: stub.ModelMetadata(wanted, timeout=PATIENCE_SECONDS)).code()
            is CODES.NOT_FOUND
        )
        wanted = service_pb2.ModelInferRequest(model_name=fields.get("name"), model_version=fields.get("version"))
        error = refused(lambda wanted=wanted: stub.ModelInfer(wanted, timeout=PATIENCE_SECONDS))
        assert error.code() is CODES.NOT_FOUND
        assert "'m'" in error.details() or "'7'" in error.details()
    assert inferences(affine_server.metrics()) == inferences(before)


def test_what_is_no_message_is_refused_as_such(affine_server):
    for name in ("ModelInfer", "ModelReady", "ModelMetadata"):
        method = affine_server.channel.unary_unary(f"/inference.GRPCInferenceService/{name}")
        error = refused(lambda method=method: method(b"\xff\xff", timeout=PATIENCE_SECONDS))
        assert (error.code(), error.details()) == (CODES.INVALID_ARGUMENT, f"the message is no {name}Request")
    nothing = affine_server.channel.stream_unary(INFER)
    assert refused(lambda: nothing(iter(()), timeout=PATIENCE_SECONDS)).code() is CODES.INVALID_ARGUMENT


def test_what_is_not_there_is_unimplemented(affine_server):
    client = tritonclient.grpc.InferenceServerClient(affine_server.target, channel_args=NO_PROXY)
    with client, pytest.raises(tritonclient.grpc.InferenceServerException) as caught:
        client.get_inference_statistics("m")
    assert caught.value.status() == "StatusCode.UNIMPLEMENTED"


def test_a_message_over_the_limit_is_refused(affine_server):
    message = rows(*[ROW] * 13_000).SerializeToString()
    assert len(message) > 200_000
    method = affine_server.channel.unary_unary(INFER)
    before = affine_server.metrics()
    assert refused(lambda: method(message, timeout=PATIENCE_SECONDS)).code() is CODES.RESOURCE_EXHAUSTED
    wait_for_metric(
        affine_server, "headrace_incomplete_requests_total", before["headrace_incomplete_requests_total"] + 1
    )
    assert inferences(affine_server.metrics()) == inferences(before)


def test_a_message_that_unpacks_to_more_than_the_limit_is_refused(affine_server):
    before = affine_server.metrics()["process_resident_memory_bytes"]
    method = affine_server.channel.unary_unary(INFER)
    call = lambda: method(b"\0" * 150_000_000, timeout=PATIENCE_SECONDS, compression=grpc.Compression.Gzip)  # noqa: E731
    assert refused(call).code() is CODES.RESOURCE_EXHAUSTED
    assert affine_server.metrics()["process_resident_memory_bytes"] < before + 20e6


def test_answers_with_infinities_are_counted(servers, models):
    server = servers.start(models.logarithm())
    entry = {"name": "x", "datatype": "FP32", "shape": [2], "data": [0.0, 1.0]}
    response = server.stub.ModelInfer(request(entry), timeout=PATIENCE_SECONDS)
    assert np.frombuffer(response.raw_output_contents[0], "<f4").tolist() == [-np.inf, 0.0]
    assert server.metrics()["headrace_nonfinite_outputs_total"] == 1
    assert server.metrics()['headrace_requests_total{code="200"}'] == 1


def test_what_the_model_cannot_compute_is_the_requests_fault(tokens_server):
    before = tokens_server.metrics()["headrace_model_rejections_total"]
    entry = {"name": "tokens", "datatype": "INT32", "shape": [1, 1], "data": [99]}
    error = refused(lambda: tokens_server.stub.ModelInfer(request(entry), timeout=PATIENCE_SECONDS))
    assert error.code() is CODES.INVALID_ARGUMENT
    assert error.details().startswith("the model cannot compute this request: ")
    assert tokens_server.metrics()["headrace_model_rejections_total"] == before + 1


def test_the_health_check_knows_the_server_and_its_service(affine_server):
    health = health_pb2_grpc.HealthStub(affine_server.channel)
    for name in ("", "inference.GRPCInferenceService"):
        answer = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=PATIENCE_SECONDS)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    listed = health.List(health_pb2.HealthListRequest(), timeout=PATIENCE_SECONDS).statuses
    assert set(listed) == {"", "inference.GRPCInferenceService"}
    other = health_pb2.HealthCheckRequest(service="other")
    with pytest.raises(grpc.RpcError) as caught:
        health.Check(other, timeout=PATIENCE_SECONDS)
    assert caught.value.code() is CODES.NOT_FOUND


def test_before_the_model_is_there_the_server_is_live_and_not_ready(tmp_path):
    port = free_ports(1)[0]
    flags = [f"--model-dir={tmp_path}", "--model-name=m", "--bind=127.0.0.1", f"--grpc-port={port}"]

    async def asked() -> None:
        settings = parse(flags)
        inferences = Inferences(settings, Metrics({}), Gate(1))
        server = await RpcService(settings, inferences).listen()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=NO_PROXY) as channel:
                stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
                assert (await stub.ServerLive(service_pb2.ServerLiveRequest(), timeout=PATIENCE_SECONDS)).live
                assert not (await stub.ServerReady(service_pb2.ServerReadyRequest(), timeout=PATIENCE_SECONDS)).ready
                assert not (
                    await stub.ModelReady(service_pb2.ModelReadyRequest(name="m"), timeout=PATIENCE_SECONDS)
                ).ready
                check = health_pb2_grpc.HealthStub(channel).Check
                status = (await check(health_pb2.HealthCheckRequest(), timeout=PATIENCE_SECONDS)).status
                assert status == health_pb2.HealthCheckResponse.NOT_SERVING
                for call in (
                    stub.ModelInfer(rows(ROW), timeout=PATIENCE_SECONDS),
                    stub.ModelMetadata(service_pb2.ModelMetadataRequest(name="m"), timeout=PATIENCE_SECONDS),
                ):
                    assert await call.code() is CODES.UNAVAILABLE
                    assert await call.details() == "the model is being loaded"
        finally:
            await server.stop(0)
            inferences.close()

    asyncio.run(asked())


def test_a_large_answer_comes_whole(tokens_server):
    tokens = np.arange(900 * 3, dtype="<i4").reshape(900, 3) % 50
    entry = {"name": "tokens", "datatype": "INT32", "shape": [900, 90], "data": np.tile(tokens, (1, 30)).tobytes()}
    response = tokens_server.stub.ModelInfer(request(entry), timeout=PATIENCE_SECONDS)
    assert outputs_of(response)["probabilities"][1] == [900, 50]
    total = np.frombuffer(response.raw_output_contents[0], "<f4").sum()
    assert total == pytest.approx(900, rel=1e-3)


def test_without_a_port_there_is_no_grpc(servers, models):
    server = servers.start(models.affine(), "--grpc-port", "0")
    assert server.is_ready()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.grpc_port), timeout=PATIENCE_SECONDS)


def test_a_port_that_is_taken_is_told(servers, models):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = servers.start(models.affine(), "--grpc-port", str(port), wait=False)
        record = server.why_not_started()
    assert (record["class"], record["reason"]) == ("Config", "AddressInUse")
