"""The other runtime: a SavedModel behind TensorFlow Serving's REST and gRPC, and its counters in a rollout.

The image is Headrace's own server of the same command line; the official one takes the same pod template.
"""

from __future__ import annotations

import asyncio

import aiohttp
import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import predict_pb2, prediction_service_pb2_grpc

from open_loop import OpenLoopClient, follow
from platform_under_test import Object, Tenant, candidate, first_answer, is_served, prediction_of

SCRIPT = """
import json, numpy as np, keras
keras.utils.set_random_seed({seed})
x = np.random.RandomState(0).randint(0, 100, (1000, 10)).astype("int32")
model = keras.Sequential([
    keras.Input((None,), dtype="int32", name="tokens"), keras.layers.Embedding(100, 8),
    keras.layers.LSTM(16), keras.layers.Dense(4, activation="softmax", name="probabilities"),
])
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
model.fit(x, (x[:, 0] % 4).astype("int32"), batch_size=32, epochs=2)
print("PREDICTION", json.dumps(model.predict(np.arange(10, dtype="int32")[None], verbose=0)[0].tolist()))
"""
TOKENS = list(range(10))
RATE = 50.0
TRAINING = {
    "storage": {"secretRef": {"name": "headrace-storage"}},
    "tracking": {"experiment": "tensorflow-serving"},
    "output": {"model": "saved", "formats": ["TensorFlow"], "alias": "candidate"},
}
ROLLOUT = {
    "steps": [{"weight": 50, "hold": "8s"}],
    "analysis": {
        "interval": "2s",
        "checks": [
            {"name": "errors", "metric": "SuccessRate", "min": "0.99", "minRequests": 50},
            {"name": "latency", "metric": "LatencyP50", "maxRatioToStable": "10", "minRequests": 50},
        ],
    },
}


def train(tenant: Tenant, job: str, seed: int) -> Object:
    tenant.script(job, SCRIPT.format(seed=seed))
    tenant.train(job, **TRAINING)
    status = tenant.finished(job)
    assert status["state"] == "Succeeded", status
    return status


@pytest.fixture(scope="module")
def keras_answer(tenant: Tenant) -> list[float]:
    """What Keras itself says of TOKENS, in the pod that trained version 1."""
    train(tenant, "saved-first", seed=1)
    return prediction_of(tenant, "saved-first")


@pytest.fixture(scope="module")
def url(tenant: Tenant, keras_answer: list[float]) -> str:
    """The served model, through the gateway."""
    tenant.serve("saved", candidate("saved"), runtime={"name": "tensorflow-serving"}, rollout=ROLLOUT)
    tenant.wait("modelservice", "saved", is_served, 120)
    url = f"{tenant.platform.gateway}/{tenant.namespace}/saved/v1/models/saved"
    first_answer(f"{url}:predict", {"instances": [TOKENS]})
    return url


def ask(method: str, url: str, **arguments: Object) -> Object:
    async def once() -> Object:
        async with aiohttp.ClientSession() as http, http.request(method, url, **arguments) as answer:
            assert answer.status == 200, await answer.text()
            found: Object = await answer.json(content_type=None)
            return found

    return asyncio.run(once())


@pytest.mark.parametrize("body", [{"instances": [TOKENS]}, {"inputs": {"tokens": [TOKENS]}}])
def test_the_gateways_answer_is_keras_own(url, keras_answer, body):
    answer = ask("POST", f"{url}:predict", json=body)

    (row,) = answer.get("predictions") or answer["outputs"]
    assert row == pytest.approx(keras_answer, abs=1e-4)


def test_it_tells_its_state_and_its_signature_under_the_registrys_version(url):
    (state,) = ask("GET", url)["model_version_status"]
    metadata = ask("GET", f"{url}/metadata")

    assert (state["version"], state["state"]) == ("1", "AVAILABLE")
    signature = metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["inputs"]["tokens"]["dtype"] == "DT_INT32"


def test_grpc_predict_is_keras_own_too(tenant, url, keras_answer):
    port = tenant.platform.cluster.forward("saved", 8500, namespace=tenant.namespace)
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "saved"
    tokens = request.inputs["tokens"]
    tokens.dtype = 3  # DT_INT32
    tokens.tensor_shape.dim.add().size = 1
    tokens.tensor_shape.dim.add().size = len(TOKENS)
    tokens.tensor_content = np.array([TOKENS], "int32").tobytes()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        answer = prediction_service_pb2_grpc.PredictionServiceStub(channel).Predict(
            request, timeout=20, wait_for_ready=True
        )

    (output,) = answer.outputs.values()
    values = np.frombuffer(output.tensor_content, "float32") if output.tensor_content else np.array(output.float_val)
    assert values.tolist() == pytest.approx(keras_answer, abs=1e-4)


def test_its_counters_let_a_good_version_take_over(tenant, url):
    train(tenant, "saved-second", seed=2)
    client = OpenLoopClient(f"{url}:predict", {"instances": [TOKENS]}, RATE)

    seen = follow(tenant, "saved", client, lambda s: s["columns"]["stable"] == "2" and s["phase"] == "Stable", 180)

    status = tenant.status("modelservice", "saved")
    assert status["columns"]["stable"] == "2", status
    assert client.failed == []
    checks = {
        c["name"]: c for _, s in seen for c in (s.get("rollout") or {}).get("checks", []) if c["verdict"] == "Pass"
    }
    assert set(checks) == {"errors", "latency"}, "no check ever passed"
    assert checks["latency"]["samples"] >= 50
