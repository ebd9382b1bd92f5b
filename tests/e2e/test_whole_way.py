"""The main job, end to end: train, track, register, serve, canary, promote, turn back. A real model all the way."""

from __future__ import annotations

import asyncio
import json

import aiohttp
import boto3
import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from open_loop import OpenLoopClient, follow, is_applied, within_binomial_bounds
from platform_under_test import Object, Tenant, candidate, first_answer, is_served, is_true, prediction_of

# A beginner's script, and at its end the predictions of Keras itself for the gateway's answer to be compared with.
SCRIPT = """
import json, numpy as np, keras
keras.utils.set_random_seed({seed})
random = np.random.RandomState(0)
x = random.randint(0, 100, (2000, 10)).astype("int32")
y = (x[:, 0] % 4).astype("int32")
model = keras.Sequential([
    keras.Input((None,), dtype="int32", name="tokens"), keras.layers.Embedding(100, 8),
    {recurrent}
    keras.layers.Dense(4, activation="softmax", name="probabilities"),
])
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(x, y, batch_size=32, epochs={epochs}, validation_split=0.1)
print("PREDICTION", json.dumps(model.predict(np.arange(10, dtype="int32")[None], verbose=0)[0].tolist()))
"""
FAST = "keras.layers.LSTM(16),"
SLOW = "*[keras.layers.LSTM(700, return_sequences=True) for _ in range(3)], keras.layers.LSTM(16),"
REQUEST = {"inputs": [{"name": "tokens", "shape": [1, 10], "datatype": "INT32", "data": list(range(10))}]}
TRAINING = {
    "storage": {"secretRef": {"name": "headrace-storage"}},
    "tracking": {"experiment": "whole-way"},
    "output": {"model": "whole-way", "alias": "candidate"},
}
RATE = 50.0  # requests a second
CHECKS = [
    {"name": "errors", "metric": "SuccessRate", "min": "0.99", "minRequests": 30},
    {"name": "latency", "metric": "LatencyP50", "maxRatioToStable": "5", "minRequests": 30},
]
ROLLOUT = {
    "steps": [{"weight": 20, "hold": "10s"}, {"weight": 50, "hold": "10s"}],
    "analysis": {"interval": "3s", "failureLimit": 1, "checks": CHECKS},
    "promotion": {"alias": "champion"},
}


@pytest.fixture(scope="module")
def first(tenant: Tenant) -> Object:
    """Version 1, trained and registered."""
    tenant.script("first", SCRIPT.format(seed=1, epochs=3, recurrent=FAST))
    tenant.train("first", **TRAINING, evaluation={"gates": [{"metric": "accuracy", "min": "0.1"}]})
    return tenant.finished("first")


@pytest.fixture(scope="module")
def service(tenant: Tenant, first: Object) -> str:
    """The service on version 1; its URL."""
    assert first["state"] == "Succeeded", first
    tenant.serve("whole-way", candidate("whole-way"), scaling={"replicas": 2}, rollout=ROLLOUT)
    tenant.wait("modelservice", "whole-way", is_served, 120)
    url = f"{tenant.platform.gateway}/{tenant.namespace}/whole-way/v2/models/whole-way"
    first_answer(f"{url}/infer", REQUEST)
    return url


def test_a_plain_script_becomes_a_registered_version(first):
    assert (first["state"], first["reason"]) == ("Succeeded", "GatePassed")
    assert first["model"]["version"] == "1"
    assert first["model"]["alias"] == "candidate"
    assert first["model"]["gate"]["checks"][0]["passed"] is True
    assert first["progress"]["percent"] == 100


def test_its_run_is_in_mlflow_with_metrics_of_every_epoch(tenant, first):
    credentials = tenant.secret("headrace-storage")
    user, password = credentials["MLFLOW_TRACKING_USERNAME"], credentials["MLFLOW_TRACKING_PASSWORD"]
    login = {"Authorization": aiohttp.encode_basic_auth(user, password)}

    async def run() -> Object:
        async with aiohttp.ClientSession(headers=login) as http:
            url = f"{tenant.platform.mlflow}/api/2.0/mlflow/runs/get?run_id={first['run']['id']}"
            async with http.get(url) as answer:
                return await answer.json()

    found = asyncio.run(run())["run"]
    tags = {tag["key"]: tag["value"] for tag in found["data"]["tags"]}
    assert tags["headrace.digest"] == first["model"]["digest"]
    assert tags["headrace.gate"] == "passed"
    assert found["info"]["status"] == "FINISHED"
    assert {"loss", "accuracy", "val_loss", "val_accuracy"} <= {m["key"] for m in found["data"]["metrics"]}


def test_its_artifacts_lie_in_the_tenants_bucket_with_the_manifest(tenant, first):
    credentials = tenant.secret("headrace-storage-read")
    s3 = boto3.client(
        "s3",
        endpoint_url=tenant.platform.s3,
        region_name="us-east-1",
        aws_access_key_id=credentials["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=credentials["AWS_SECRET_ACCESS_KEY"],
    )
    bucket, _, prefix = first["model"]["uri"].removeprefix("s3://").partition("/")
    manifest = json.loads(s3.get_object(Bucket=bucket, Key=f"{prefix}/manifest.json")["Body"].read())

    assert bucket == tenant.namespace
    assert set(manifest["formats"]) == {"ONNX", "TensorFlow"}


def test_a_model_that_misses_its_gate_is_no_version_and_moves_no_alias(tenant, service):
    tenant.script("ungood", SCRIPT.format(seed=5, epochs=1, recurrent=FAST))
    tenant.train("ungood", **TRAINING, evaluation={"gates": [{"metric": "accuracy", "min": "0.999"}]})

    status = tenant.finished("ungood")

    assert (status["state"], status["reason"]) == ("Succeeded", "GateFailed"), status
    assert "version" not in status["model"]
    (check,) = status["model"]["gate"]["checks"]
    assert (check["metric"], check["passed"]) == ("accuracy", False)
    assert "accuracy" in status["message"]
    run = tenant.mlflow(f"runs/get?run_id={status['run']['id']}")["run"]
    tags = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
    assert tags["headrace.gate"].startswith("failed: accuracy is ")
    served = tenant.wait("modelservice", "whole-way", lambda s: s["phase"] == "Stable", 20)
    assert (served["columns"]["stable"], served["columns"]["canary"]) == ("1", "-")


def test_the_gateways_answer_is_keras_own(tenant, service):
    async def ask() -> Object:
        async with aiohttp.ClientSession() as http, http.post(f"{service}/infer", json=REQUEST) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.json()

    output = asyncio.run(ask())["outputs"][0]

    assert output["name"] == "probabilities"
    assert output["data"] == pytest.approx(prediction_of(tenant, "first"), abs=1e-4)


def test_grpc_on_the_services_port_answers_as_the_gateway_does(tenant, service):
    port = tenant.platform.cluster.forward("whole-way", 8500, namespace=tenant.namespace)
    request = service_pb2.ModelInferRequest(model_name="whole-way")
    tokens = request.inputs.add(name="tokens", datatype="INT32", shape=[1, 10])
    tokens.contents.int_contents.extend(range(10))

    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        answer = stub.ModelInfer(request, timeout=20, wait_for_ready=True)

    values = np.frombuffer(answer.raw_output_contents[0], "<f4")
    assert values.tolist() == pytest.approx(prediction_of(tenant, "first"), abs=1e-4)


def test_a_good_version_takes_over_step_by_step_and_nothing_is_dropped(tenant, service):
    tenant.script("second", SCRIPT.format(seed=2, epochs=3, recurrent=FAST))
    tenant.train("second", **TRAINING)
    assert tenant.finished("second")["state"] == "Succeeded"

    client = OpenLoopClient(f"{service}/infer", REQUEST, RATE)

    seen = follow(tenant, "whole-way", client, lambda s: s["columns"]["stable"] == "2" and s["phase"] == "Stable", 150)

    status = tenant.status("modelservice", "whole-way")
    assert status["columns"]["stable"] == "2", status
    assert client.failed == []
    assert status["history"][-1]["outcome"] == "Promoted"
    for weight in (20, 50):
        at = [moment for moment, status in seen if is_applied(status, weight)]
        hits, total = client.share("2", min(at), max(at))
        assert within_binomial_bounds(hits, total, weight / 100), f"{hits} of {total} at {weight} %"
    tenant.wait("modelservice", "whole-way", lambda s: s["promotion"].get("expectedVersion") == "2", 20)


def test_a_slow_version_is_turned_back_and_nothing_is_dropped(tenant, service):
    tenant.script("slow", SCRIPT.format(seed=3, epochs=1, recurrent=SLOW).replace("(2000, 10)", "(64, 10)"))
    tenant.train("slow", **TRAINING)
    assert tenant.finished("slow")["state"] == "Succeeded"

    client = OpenLoopClient(f"{service}/infer", REQUEST, RATE)

    follow(tenant, "whole-way", client, lambda s: s["phase"] == "RolledBack", 150)

    status = tenant.status("modelservice", "whole-way")
    assert status["phase"] == "RolledBack", status
    assert status["reason"] == "AnalysisFailed"
    assert status["columns"]["stable"] == "2"
    assert status["rejected"][0]["digest"] == tenant.status("trainingjob", "slow")["model"]["digest"]
    assert client.failed == []
    assert is_true(status, "Ready")


def test_a_version_whose_bytes_changed_never_gets_a_request(tenant, service):
    """The loader refuses it: a file of the artifact is not what the manifest says."""
    tenant.script("corrupt", SCRIPT.format(seed=4, epochs=1, recurrent=FAST))
    tenant.train("corrupt", **(TRAINING | {"output": {"model": "whole-way"}}))
    model = tenant.finished("corrupt")["model"]
    credentials = tenant.secret("headrace-storage")
    s3 = boto3.client(
        "s3",
        endpoint_url=tenant.platform.s3,
        region_name="us-east-1",
        aws_access_key_id=credentials["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=credentials["AWS_SECRET_ACCESS_KEY"],
    )
    bucket, _, prefix = model["uri"].removeprefix("s3://").partition("/")
    s3.put_object(Bucket=bucket, Key=f"{prefix}/onnx/model.onnx", Body=b"not a model")
    pinned = {"spec": {"model": {"registry": {"name": "whole-way", "version": model["version"], "alias": None}}}}
    tenant.kubectl("patch", "modelservice", "whole-way", "--type=merge", "-p", json.dumps(pinned))

    status = tenant.wait("modelservice", "whole-way", lambda s: s.get("reason") == "FileCorrupt", 120)

    assert status["columns"]["stable"] == "2"
    assert status["failure"]["class"] == "Data"
