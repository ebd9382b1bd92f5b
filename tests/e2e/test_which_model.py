"""A script with several models: the version is the one that its gates have judged, or nobody's."""

from __future__ import annotations

import json

import pytest

from platform_under_test import Tenant, candidate, first_answer, is_served, prediction_of

DATA = """
import json
import keras
import numpy as np

random = np.random.default_rng(0)
x = random.normal(size=(96, 4)).astype("float32")
y = x.sum(axis=1, keepdims=True)
training, validation = (x[:64], y[:64]), (x[64:], y[64:])


def build(rate):
    model = keras.Sequential([keras.Input((4,), name="x"), keras.layers.Dense(1, name="y")])
    model.compile(keras.optimizers.Adam(rate), "mse")
    return model

"""
# The idiom of the Keras guides. The last epochs' rate makes the model far worse than it was.
BEST = """
model = build(0.1)
best = keras.callbacks.ModelCheckpoint("best.keras", monitor="val_loss", save_best_only=True)
rate = keras.callbacks.LearningRateScheduler(lambda epoch: 0.1 if epoch < 4 else 1000.0)
history = model.fit(*training, epochs=6, validation_data=validation, callbacks=[best, rate], verbose=2)
losses = history.history["val_loss"]
model = keras.models.load_model("best.keras")
model.evaluate(*validation)
print("LOSSES", json.dumps([min(losses), losses[-1]]))
print("PREDICTION", json.dumps(model.predict(np.ones((1, 4), "float32")).ravel().tolist()))
"""
TWO = """
first, second = build(0.01), build(0.1)
for model in (first, second):
    model.fit(*training, epochs=1, verbose=2)
"""
TRACKED = {"storage": {"secretRef": {"name": "headrace-storage"}}, "tracking": {"experiment": "which-model"}}
REQUEST = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1.0, 1.0, 1.0, 1.0]}]}


def output(model: str) -> dict:
    return {"model": model, "formats": ["ONNX"], "alias": "candidate"}


@pytest.fixture(scope="module")
def jobs(tenant: Tenant) -> dict[str, dict]:
    """The status that each of two jobs ended with."""
    tenant.script("best", DATA + BEST)
    tenant.script("two", DATA + TWO)
    gates = [{"metric": "val_loss", "max": "1000000000"}, {"metric": "eval_loss", "max": "1000000000"}]
    tenant.train("best", **TRACKED, evaluation={"gates": gates}, output=output("best"))
    tenant.train("two", **TRACKED, output=output("two"))
    return {name: tenant.finished(name) for name in ("best", "two")}


def test_the_best_epochs_model_is_judged_and_served(tenant: Tenant, jobs: dict[str, dict]):
    status = jobs["best"]
    assert (status["state"], status["reason"]) == ("Succeeded", "GatePassed"), status
    pod = tenant.kubectl("get", "pods", "-l", "headrace.dev/trainingjob=best", "-o", "name").strip()
    best, last = json.loads(tenant.kubectl("logs", pod).split("LOSSES ")[1].splitlines()[0])
    judged = {check["metric"]: float(check["value"]) for check in status["model"]["gate"]["checks"]}
    assert best < last
    assert judged["val_loss"] == pytest.approx(best, rel=1e-6)
    assert judged["eval_loss"] == pytest.approx(best, rel=1e-4)

    tenant.serve("best", candidate("best"))
    tenant.wait("modelservice", "best", is_served, 120)
    answer = first_answer(f"{tenant.platform.gateway}/{tenant.namespace}/best/v2/models/best/infer", REQUEST)

    assert answer["outputs"][0]["data"] == pytest.approx(prediction_of(tenant, "best"), rel=1e-5)


def test_of_two_models_none_is_registered_and_each_can_still_be_served(tenant: Tenant, jobs: dict[str, dict]):
    status = jobs["two"]
    assert (status["state"], status["reason"], status.get("model")) == ("Succeeded", "AmbiguousModel", None), status
    assert "1. first (sequential) (trained by fit), 2. second (sequential_1) (trained by fit)" in status["message"]
    place = status["message"].split("kept at ")[1].split("/NUMBER")[0]
    tenant.serve("two", {"uri": f"{place}/2"})
    tenant.wait("modelservice", "two", is_served, 120)
