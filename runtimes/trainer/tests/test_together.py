"""Both halves, with TensorFlow, MLflow and S3: a plain Keras script is stopped, and goes on in the next attempt."""

import hashlib
import json
import os
import signal
import sys
import urllib.request
import uuid
from pathlib import Path

import numpy as np
import pytest
from forking import Interpreter
from trainer_support import ACCESS_KEY, CLIENT, SECRET_KEY, TRAINER, Server, answers, free_port, wait_until

SCRIPTS = Path(__file__).parent / "adapters" / "scripts"
EXPORTS = SCRIPTS / "exports"

SCRIPT = """
import json, os, sys, time
import keras, numpy as np

print("arguments", sys.argv[1:])
rng = np.random.default_rng(7)
x = rng.normal(size=(640, 8)).astype("float32")
y = (x.sum(axis=1) > 0).astype("int32")
model = keras.Sequential([keras.Input((8,), name="features"), keras.layers.Dense(8, "relu"), keras.layers.Dropout(0.2),
                          keras.layers.Dense(2, "softmax", name="probabilities")])
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])

class Slow(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        time.sleep(float(os.environ.get("SLOW", "0")))

model.fit(x, y, batch_size=16, epochs=4, validation_split=0.1, callbacks=[Slow()])
model.evaluate(x, y)
print("PREDICTION", json.dumps(model.predict(np.ones((2, 8), "float32")).tolist()))
"""
# What anybody does who has a model in MLflow: here in a fork of what has imported Keras, and in a server whose process
# has nothing of Headrace's.
LOADS_FROM_MLFLOW = """
import json, sys
import mlflow, numpy as np

model = mlflow.pyfunc.load_model(sys.argv[1])
answer = model.predict({"features": np.ones((2, 8), "float32")})
print("ANSWER", json.dumps(np.asarray(answer["probabilities"]).tolist()))
"""


def test_a_stopped_keras_script_goes_on_exactly_and_delivers_its_model(train, interpreter, s3, mlflow, tmp_path):
    bucket = s3.bucket()
    tracking = mlflow.experiment("together", f"s3://{bucket}/mlflow")
    config = {
        "storage": {"endpoint": s3.endpoint, "region": "us-east-1"},
        "tracking": tracking,
        "checkpoint": {"uri": f"s3://{bucket}/checkpoints/uid", "intervalSeconds": 2, "keep": 2},
        "output": {"formats": ["TensorFlow", "ONNX"]},
        "parameters": {"epochs": 4},
    }
    first = train(SCRIPT, config=config, env={"SLOW": "0.1"})
    wait_until(lambda: first.progress.get("checkpoint") and first.progress["step"] > 45, 300, "it trains and saves")
    first.process.send_signal(signal.SIGTERM)
    assert first.wait() == 6, first.log
    stopped = first.record
    assert (stopped["outcome"], stopped["reason"]) == ("Interrupted", "Terminated")
    assert stopped["checkpoint"]["step"] >= 45

    second = train(SCRIPT, config=config, attempt=2)
    assert second.wait(300) == 0, second.log
    record = second.record
    assert record["outcome"] == "Succeeded"
    assert (record["resume"]["attempt"], record["resume"]["step"]) == (1, stopped["checkpoint"]["step"])
    assert record["resume"]["exact"] is not False
    assert (record["progress"]["percent"], record["progress"]["epoch"], record["progress"]["step"]) == (100.0, 4, 144)
    assert {"loss", "accuracy", "val_accuracy", "eval_accuracy"} <= record["metrics"].keys()
    [run] = mlflow.runs(tracking["experimentId"])
    assert run["info"]["status"] == "FINISHED"
    assert [m["step"] for m in mlflow.history(run["info"]["run_id"], "val_accuracy")] == [1, 2, 3, 4]
    steps = [m["step"] for m in mlflow.history(run["info"]["run_id"], "loss")]
    assert len(steps) == len(set(steps))
    prefix = record["model"]["uri"].removeprefix(f"s3://{bucket}/")
    manifest = json.loads(s3.get(bucket, f"{prefix}/manifest.json"))
    assert {"onnx/model.onnx", "signature.json", "tensorflow/saved_model.pb"} <= {f["path"] for f in manifest["files"]}
    model, environment = registered(mlflow, s3, record["model"]["uri"])
    expected = pytest.approx(said(second.log, "PREDICTION"), abs=1e-5)
    assert loaded_by_mlflow(model, environment, interpreter, tmp_path) == expected
    assert served_by_mlflow(model, environment, tmp_path) == expected


def said(log: str, word: str) -> list[float]:
    """The numbers after a word, flat."""
    return flat(json.loads(log.split(f"{word} ")[1].splitlines()[0]))


def flat(rows: list[list[float]]) -> list[float]:
    return [number for row in rows for number in row]


def registered(mlflow, s3, uri: str) -> tuple[str, dict[str, str]]:
    """A version from `uri`, as MLflow names it, and the environment of a person who uses it."""
    name = f"together-{uuid.uuid4().hex[:6]}"
    mlflow.call("POST", "registered-models/create", {"name": name})
    mlflow.call("POST", "model-versions/create", {"name": name, "source": uri})
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": mlflow.url,
        "MLFLOW_S3_ENDPOINT_URL": s3.endpoint,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
    }
    return f"models:/{name}/1", environment


def loaded_by_mlflow(model: str, environment: dict[str, str], interpreter: Interpreter, folder: Path) -> list[float]:
    """The answer of the version in a Python process."""
    script = folder / "loads.py"
    script.write_text(LOADS_FROM_MLFLOW)
    printed = interpreter.run(script, [model], environment)
    assert "mismatch" not in printed
    return said(printed, "ANSWER")


def served_by_mlflow(model: str, environment: dict[str, str], folder: Path) -> list[float]:
    """The answer of the version over HTTP, from MLflow's own server."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", model, "--env-manager", "local"]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    programs = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # an activated venv: it starts uvicorn
    server = Server(command, {**environment, "PATH": programs}, folder / "serve.log", lambda: answers(f"{url}/ping"))
    try:
        server.start()
        server.await_up()
        body = json.dumps({"inputs": {"features": np.ones((2, 8)).tolist()}}).encode()
        request = urllib.request.Request(f"{url}/invocations", body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as response:
            return flat(json.loads(response.read())["predictions"]["probabilities"])
    finally:
        server.stop()


LOOP = """
import os, time
import keras, numpy as np

print("process", os.getpid())
rng = np.random.default_rng(7)
x = rng.normal(size=(64, 8)).astype("float32")
y = x.sum(axis=1, keepdims=True)
model = keras.Sequential([keras.Input((8,), name="features"), keras.layers.Dense(1, name="sum")])
model.compile("adam", "mse")
best = keras.callbacks.ModelCheckpoint("best.weights.h5", save_weights_only=True, save_best_only=True)
for number in range(6):
    model.fit(x, y, batch_size=16, epochs=1, validation_split=0.25, callbacks=[best])
    model.evaluate(x, y)
    time.sleep(float(os.environ.get("SLOW", "0")))
model.load_weights("best.weights.h5")
model.evaluate(x, y)
"""


def test_a_pod_that_is_killed_between_two_fits_costs_no_metric_and_no_file(train, s3, mlflow):
    bucket = s3.bucket()
    tracking = mlflow.experiment("loop", f"s3://{bucket}/mlflow")
    config = {
        "storage": {"endpoint": s3.endpoint, "region": "us-east-1"},
        "tracking": tracking,
        "checkpoint": {"uri": f"s3://{bucket}/checkpoints/uid", "intervalSeconds": 1, "keep": 2},
    }
    first = train(LOOP, config=config, env={"SLOW": "4"})
    wait_until(lambda: first.progress.get("checkpoint", {}).get("fit") == 2, 300, "the third fit is kept")
    script = int(first.log.split("process ")[1].split()[0])
    first.process.kill()
    os.kill(script, signal.SIGKILL)
    first.wait()

    second = train(LOOP, config=config, attempt=2)
    assert second.wait(300) == 0, second.log
    assert second.record["resume"]["fit"] == 2
    [run] = mlflow.runs(tracking["experimentId"])
    steps = {key: [m["step"] for m in mlflow.history(run["info"]["run_id"], key)] for key in ("epoch/loss", "val_loss")}
    assert steps == {"epoch/loss": [1, 2, 3, 4, 5, 6], "val_loss": [1, 2, 3, 4, 5, 6]}
    assert [m["step"] for m in mlflow.history(run["info"]["run_id"], "loss")] == list(range(1, 19))
    assert [m["step"] for m in mlflow.history(run["info"]["run_id"], "eval_loss")] == list(range(1, 8))


def test_what_onnx_cannot_have_is_delivered_as_a_saved_model_with_the_reason_beside_it(train, s3, mlflow):
    bucket = s3.bucket()
    tracking = mlflow.experiment("formats", f"s3://{bucket}/mlflow")
    config = {
        "storage": {"endpoint": s3.endpoint, "region": "us-east-1"},
        "tracking": tracking,
        "output": {"formats": ["TensorFlow", "ONNX"]},
    }
    launched = train((EXPORTS / "vae.py").read_text(), config=config)
    assert launched.wait(400) == 0, launched.log
    record = launched.record
    reason = "layer 'sampling' (Sampling) computes StatelessRandomNormalV2, which ONNX does not have"
    assert (record["outcome"], record["model"]["formats"]) == ("Succeeded", ["TensorFlow"])
    assert record["modelNote"] == f"ONNX cannot be made of this model: {reason}"
    [run] = mlflow.runs(tracking["experimentId"])
    tags = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
    assert (run["info"]["status"], tags["headrace.export.TensorFlow"]) == ("FINISHED", "exported")
    assert tags["headrace.export.ONNX"] == f"failed: {reason}"
    prefix = record["model"]["uri"].removeprefix(f"s3://{bucket}/")
    manifest = s3.get(bucket, f"{prefix}/manifest.json")
    assert record["model"]["digest"] == tags["headrace.digest"] == f"sha256:{hashlib.sha256(manifest).hexdigest()}"
    of_mlflow = {"MLmodel", "requirements.txt", "python_env.yaml", "input_example.json", "serving_input_example.json"}
    paths = {file["path"].split("/")[0] for file in json.loads(manifest)["files"]}
    assert paths == {"signature.json", "tensorflow", *of_mlflow}
    described = json.loads(s3.get(bucket, f"{prefix}/signature.json"))
    names = {side: [tensor["name"] for tensor in described[side]] for side in ("inputs", "outputs")}
    told = json.loads(tags["headrace.signature"])
    assert {side: sorted(told[side]) for side in told} == {side: sorted(found) for side, found in names.items()}


def test_a_decoder_is_delivered_as_text_with_its_tokenizer_and_the_run_says_why_it_has_no_cache(train, s3, mlflow):
    bucket = s3.bucket()
    tracking = mlflow.experiment("text", f"s3://{bucket}/mlflow")
    config = {
        "storage": {"endpoint": s3.endpoint, "region": "us-east-1"},
        "tracking": tracking,
        "parameters": {"case": "sinusoids"},
        "output": {"formats": ["Text"]},
    }
    paths = os.pathsep.join(map(str, (TRAINER, TRAINER / "tests" / "launcher", CLIENT)))
    launched = train((SCRIPTS / "decoders.py").read_text(), config=config, env={"PYTHONPATH": paths})
    assert launched.wait(400) == 0, launched.log
    model = launched.record["model"]
    assert model["formats"] == ["Text"]
    prefix = model["uri"].removeprefix(f"s3://{bucket}/")
    manifest = json.loads(s3.get(bucket, f"{prefix}/manifest.json"))
    files = {file["path"] for file in manifest["files"]}
    names = ("genai_config.json", "model.onnx", "tokenizer.json", "tokenizer_config.json")
    assert {"signature.json", *(f"text/{name}" for name in names)} <= files
    [run] = mlflow.runs(tracking["experimentId"])
    [warning] = [tag["value"] for tag in run["data"]["tags"] if tag["key"] == "headrace.warning.text"]
    assert warning.startswith("the model was exported as Text without a cache")
