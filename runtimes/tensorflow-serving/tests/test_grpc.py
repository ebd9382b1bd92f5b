"""The gRPC API, asked with the published stubs."""

from __future__ import annotations

import time
from typing import Any

import grpc
import numpy as np
import pytest
from serving_load import wait_for_metric
from serving_support import PATIENCE_SECONDS


@pytest.fixture(scope="session")
def tf():
    import tensorflow

    return tensorflow


@pytest.fixture(scope="session")
def predict_on(tf):
    """Predict with arrays; the raw response."""
    from tensorflow.core.framework.tensor_pb2 import TensorProto
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    def predict(
        server,
        inputs: dict[str, Any],
        *,
        outputs: tuple[str, ...] = (),
        timeout: float = PATIENCE_SECONDS,
        **spec: Any,
    ):
        request = predict_pb2.PredictRequest(output_filter=outputs)
        request.model_spec.name = spec.get("name", "m")
        request.model_spec.signature_name = spec.get("signature", "")
        if "version" in spec:
            request.model_spec.version.value = spec["version"]
        for name, value in inputs.items():
            proto = value if isinstance(value, TensorProto) else tf.make_tensor_proto(value)
            request.inputs[name].CopyFrom(proto)
        return prediction_service_pb2_grpc.PredictionServiceStub(server.channel).Predict(request, timeout=timeout)

    return predict


TOKENS = np.array([[1, 2, 3], [4, 5, 6]], dtype=np.int32)
PAIR = {"length": np.array([2, 7]), "vector": np.array([[0.5, -1, 2], [3, 1, 0]], dtype=np.float32)}


def refused(call) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    assert caught.value.details()
    return caught.value.code()


def test_a_prediction_is_what_keras_computes(predict_on, tf, text_server, models):
    response = predict_on(text_server, {"tokens": TOKENS})

    expected = np.asarray(models.text.model(TOKENS))
    (output,) = response.outputs.values()
    np.testing.assert_allclose(tf.make_ndarray(output), expected, atol=1e-6, rtol=0)
    assert len(output.float_val) == expected.size, "clients read the values there"
    assert (response.model_spec.name, response.model_spec.signature_name) == ("m", "serving_default")
    assert response.model_spec.version.value == 7


def test_rest_and_grpc_give_the_same_numbers(predict_on, tf, text_server):
    by_rest = text_server.predict({"inputs": TOKENS.tolist()}).json["outputs"]
    (output,) = predict_on(text_server, {"tokens": TOKENS}).outputs.values()
    assert np.array_equal(np.array(by_rest, dtype=np.float32), tf.make_ndarray(output))


def test_several_inputs_and_outputs(predict_on, tf, many_server, models):
    response = predict_on(many_server, PAIR)

    expected = models.many.model(PAIR)
    assert set(response.outputs) == {"total", "shares"}
    for name, output in response.outputs.items():
        np.testing.assert_allclose(tf.make_ndarray(output), np.asarray(expected[name]), atol=1e-6, rtol=1e-6)


def test_the_output_filter_is_kept_to(predict_on, many_server):
    assert set(predict_on(many_server, PAIR, outputs=("shares",)).outputs) == {"shares"}
    for outputs in (("other",), ("total", "total")):
        code = refused(lambda outputs=outputs: predict_on(many_server, PAIR, outputs=outputs))
        assert code is grpc.StatusCode.INVALID_ARGUMENT


def test_every_type_goes_in_and_comes_out(predict_on, tf, many_server, models):
    values = {name: tf.cast(tf.constant([0, 1]), name) for name in models.types if name != "string"}
    values["string"] = tf.constant([b"\0\xff", b""])
    inputs = {f"{name}_in": tf.make_tensor_proto(value.numpy()) for name, value in values.items()}

    response = predict_on(many_server, inputs, signature="types")

    for name, value in values.items():
        assert np.array_equal(tf.make_ndarray(response.outputs[name]), value.numpy()), name


def test_bad_requests_have_the_official_codes(predict_on, tf, text_server, many_server):
    from tensorflow.core.framework import tensor_pb2, types_pb2

    def tensor(**fields: Any):
        return tensor_pb2.TensorProto(dtype=types_pb2.DT_INT32, **fields)

    def shaped(*sizes: int):
        proto = tensor(int_val=[1])
        for size in sizes:
            proto.tensor_shape.dim.add(size=size)
        return proto

    codes = grpc.StatusCode
    for inputs, spec, code in (
        ({}, {}, codes.INVALID_ARGUMENT),
        ({"other": TOKENS}, {}, codes.INVALID_ARGUMENT),
        ({"tokens": TOKENS, "other": TOKENS}, {}, codes.INVALID_ARGUMENT),
        ({"tokens": TOKENS.astype(np.int64)}, {}, codes.INVALID_ARGUMENT),
        ({"tokens": TOKENS[0]}, {}, codes.INVALID_ARGUMENT),
        ({"tokens": np.array([[1, 50]], dtype=np.int32)}, {}, codes.INVALID_ARGUMENT),
        ({"tokens": shaped(-1, 1)}, {}, codes.INVALID_ARGUMENT),
        ({"tokens": shaped(0, 1)}, {}, codes.INVALID_ARGUMENT),
        ({"tokens": shaped(2**40, 2**20)}, {}, codes.INVALID_ARGUMENT),
        ({"tokens": tensor(tensor_content=b"abc")}, {}, codes.INVALID_ARGUMENT),
        ({"tokens": TOKENS}, {"name": ""}, codes.INVALID_ARGUMENT),
        ({"tokens": TOKENS}, {"name": "other"}, codes.NOT_FOUND),
        ({"tokens": TOKENS}, {"version": 8}, codes.NOT_FOUND),
        ({"tokens": TOKENS}, {"signature": "other"}, codes.FAILED_PRECONDITION),
    ):
        call = lambda inputs=inputs, spec=spec: predict_on(text_server, inputs, **spec)  # noqa: E731
        assert refused(call) is code, (inputs, spec)
    broken = {"text": np.array([b"not packed"])}
    assert refused(lambda: predict_on(many_server, broken, signature="unpack")) is codes.DATA_LOSS


def test_garbage_is_refused_as_such(text_server):
    method = text_server.channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    assert refused(lambda: method(b"\xff\xff", timeout=PATIENCE_SECONDS)) is grpc.StatusCode.INVALID_ARGUMENT


def test_a_message_over_the_limit_is_refused(predict_on, text_server):
    large = np.zeros((1, 60_000), dtype=np.int32)
    assert refused(lambda: predict_on(text_server, {"tokens": large})) is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_clients_deadline_is_kept(predict_on, many_server):
    name = ':tensorflow:serving:request_count{model_name="m",status="DEADLINE_EXCEEDED"}'
    before = many_server.metrics()[name]

    # One that is a while on its way to the server is cancelled by its client before the server's own deadline.
    until = time.monotonic() + PATIENCE_SECONDS
    while many_server.metrics()[name] == before and time.monotonic() < until:
        call = lambda: predict_on(many_server, {"x": np.float32([1e7])}, signature="slow", timeout=0.3)  # noqa: E731
        assert refused(call) is grpc.StatusCode.DEADLINE_EXCEEDED
        wait_for_metric(many_server, "headrace_requests_in_flight", 0)

    assert many_server.metrics()[name] > before


def test_metadata_and_status(text_server, tf):
    from tensorflow_serving.apis import (
        get_model_metadata_pb2,
        get_model_status_pb2,
        model_service_pb2_grpc,
        prediction_service_pb2_grpc,
    )

    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "m"
    stub = prediction_service_pb2_grpc.PredictionServiceStub(text_server.channel)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    stub.GetModelMetadata(request, timeout=PATIENCE_SECONDS).metadata["signature_def"].Unpack(signatures)
    assert list(signatures.signature_def["serving_default"].inputs) == ["tokens"]

    for fields in ([], ["other"]):
        request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields, model_spec=request.model_spec)
        call = lambda request=request: stub.GetModelMetadata(request, timeout=PATIENCE_SECONDS)  # noqa: E731
        assert refused(call) is grpc.StatusCode.INVALID_ARGUMENT

    status = get_model_status_pb2.GetModelStatusRequest()
    status.model_spec.name = "m"
    models_stub = model_service_pb2_grpc.ModelServiceStub(text_server.channel)
    (version,) = models_stub.GetModelStatus(status, timeout=PATIENCE_SECONDS).model_version_status
    assert (version.version, version.state, version.status.error_code) == (7, version.AVAILABLE, 0)
    status.model_spec.name = "other"
    assert refused(lambda: models_stub.GetModelStatus(status, timeout=PATIENCE_SECONDS)) is grpc.StatusCode.NOT_FOUND


def test_the_health_check_says_serving(text_server):
    check = text_server.channel.unary_unary("/grpc.health.v1.Health/Check")
    assert check(b"", timeout=PATIENCE_SECONDS) == b"\x08\x01"


@pytest.mark.parametrize("method", ["PredictionService/Classify", "ModelService/HandleReloadConfigRequest", "X/Y"])
def test_what_is_not_there_is_unimplemented(text_server, method):
    call = text_server.channel.unary_unary(f"/tensorflow.serving.{method}")
    assert refused(lambda: call(b"", timeout=PATIENCE_SECONDS)) is grpc.StatusCode.UNIMPLEMENTED
