"""The counters that the rollout's analysis reads, under the official server's names."""

from __future__ import annotations

import numpy as np
from serving_support import PATIENCE_SECONDS

from headrace_tensorflow_serving.codes import Code
from headrace_tensorflow_serving.metrics import LATENCY_BOUNDS, Api, Metrics

COUNT = ':tensorflow:serving:request_count{{model_name="m",status="{}"}}'
LATENCY = ':tensorflow:serving:request_latency_{}{{model_name="m",API="{}",entrypoint="{}"}}'


def test_all_series_are_there_from_the_start():
    lines = Metrics("m", {"name": "m"}).render().splitlines()

    assert ':tensorflow:serving:request_count{model_name="m",status="OK"} 0' in lines
    assert ':tensorflow:serving:request_count{model_name="m",status="INVALID_ARGUMENT"} 0' in lines
    assert ':tensorflow:serving:request_count{model_name="m",status="INTERNAL"} 0' in lines
    for api, entrypoint in (("predict", "REST"), ("Predict", "GRPC"), ("", "REST")):
        labels = f'model_name="m",API="{api}",entrypoint="{entrypoint}"'
        assert f':tensorflow:serving:request_latency_bucket{{{labels},le="250"}} 0' in lines
        assert f':tensorflow:serving:request_latency_bucket{{{labels},le="+Inf"}} 0' in lines
        assert f":tensorflow:serving:request_latency_count{{{labels}}} 0" in lines


def test_a_latency_is_counted_in_microseconds_in_all_buckets_above_it():
    metrics = Metrics("m", {})
    metrics.observe_request(Api.REST_PREDICT, 0.001)
    metrics.count(Code.OK)

    lines = metrics.render().splitlines()

    found = [line for line in lines if 'bucket{model_name="m",API="predict"' in line and line.endswith(" 1")]
    assert len(found) == sum(bound >= 1000 for bound in LATENCY_BOUNDS) + 1
    assert ':tensorflow:serving:request_latency_sum{model_name="m",API="predict",entrypoint="REST"} 1000.0' in lines


def test_a_models_name_is_escaped():
    assert 'model_name="a\\"b\\\\",status="OK"' in Metrics('a"b\\', {}).render()


def test_each_request_is_counted_once_by_its_status(many_server):
    from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

    before = many_server.metrics()
    for _ in range(3):
        assert many_server.predict({"signature_name": "sum", "inputs": [1, 2]}).status == 200
    many_server.predict({})
    many_server.predict({"signature_name": "unpack", "instances": ["not packed"]})
    many_server.get("/v1/models/m")
    many_server.get("/v1/models/m/versions/8")
    many_server.get("/v1/models/other")
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "m", "sum"
    request.inputs["x"].dtype = 1
    request.inputs["x"].float_val.extend([1, 2])
    request.inputs["x"].tensor_shape.dim.add(size=2)
    stub = prediction_service_pb2_grpc.PredictionServiceStub(many_server.channel)
    assert np.isclose(stub.Predict(request, timeout=PATIENCE_SECONDS).outputs["y"].float_val[0], 3)

    after = many_server.metrics()

    grown = {name: after[name] - before.get(name, 0) for name in after}
    assert grown[COUNT.format("OK")] == 5, "three by REST, one by gRPC, and the status, as the official server does"
    assert grown[COUNT.format("INVALID_ARGUMENT")] == 1
    assert grown[COUNT.format("NOT_FOUND")] == 1
    assert grown[COUNT.format("DATA_LOSS")] == 1
    assert not any('model_name="other"' in name for name in after)
    assert grown[LATENCY.format("count", "predict", "REST")] == 3
    assert grown[LATENCY.format("count", "Predict", "GRPC")] == 1
    assert grown[LATENCY.format("count", "", "REST")] == 1
    assert 0 < grown[LATENCY.format("sum", "predict", "REST")] < 10e6
    assert grown[':tensorflow:serving:runtime_latency_count{model_name="m",API="Predict",runtime="TF1"}'] == 4
    assert after["headrace_requests_in_flight"] == 0
    assert after['headrace_model_info{name="m",version="1",digest="",runtime="tensorflow-serving"}'] == 1


def test_answers_with_numbers_that_json_does_not_have_are_counted(many_server):
    before = many_server.metrics()["headrace_nonfinite_outputs_total"]
    many_server.predict({"signature_name": "logarithm", "instances": [-1]})
    assert many_server.metrics()["headrace_nonfinite_outputs_total"] == before + 1
