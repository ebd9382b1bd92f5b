"""Datasets, checkpoints and the model against a real S3 store."""

import hashlib
import json
import signal
import time

import pytest
from trainer_support import wait_until

OF_MLFLOW = ("MLmodel", "requirements.txt", "python_env.yaml")
READS = """
from standin_adapter import *
print("found", sorted(os.path.relpath(os.path.join(d, f), "{path}") for d, _, fs in os.walk("{path}") for f in fs))
train(1)
"""


def storage(s3):
    return {"endpoint": s3.endpoint, "region": "us-east-1"}


def dataset(s3, bucket, key, path):
    return {"storage": storage(s3), "datasets": [{"name": "d", "uri": f"s3://{bucket}/{key}", "path": str(path)}]}


def test_one_object_is_a_file_at_the_dataset_s_path(launch, s3, tmp_path):
    bucket = s3.bucket()
    s3.put(bucket, "corpus.txt", b"some text")
    launched = launch(
        "from standin_adapter import *\ntrain(1)", config=dataset(s3, bucket, "corpus.txt", tmp_path / "data/d")
    )
    assert launched.wait() == 0, launched.log
    assert (tmp_path / "data/d").read_bytes() == b"some text"


def test_a_prefix_is_a_folder(launch, s3, tmp_path):
    bucket = s3.bucket()
    for key in ("images/a.png", "images/cats/b.png", "images-of-others/c.png"):
        s3.put(bucket, key, b"x")
    path = tmp_path / "data/d"
    launched = launch(READS.format(path=path), config=dataset(s3, bucket, "images", path))
    assert launched.wait() == 0, launched.log
    assert "found ['a.png', 'cats/b.png']" in launched.log


@pytest.mark.parametrize(
    ("key", "bucket", "env", "failure_class", "reason"),
    [
        ("missing", None, {}, "Data", "DatasetNotFound"),
        ("missing", "no-such-bucket", {}, "Data", "DatasetNotFound"),
        ("there", None, {"AWS_SECRET_ACCESS_KEY": "wrong"}, "Data", "DatasetForbidden"),
        ("there", None, {"AWS_ACCESS_KEY_ID": "nobody"}, "Data", "DatasetForbidden"),
    ],
)
def test_a_dataset_that_cannot_be_had_is_never_worth_a_retry(
    launch, s3, tmp_path, key, bucket, env, failure_class, reason
):
    own = s3.bucket()
    s3.put(own, "there", b"x")
    launched = launch("", config=dataset(s3, bucket or own, key, tmp_path / "d"), env=env)
    assert launched.wait() == 2, launched.log
    assert (launched.record["class"], launched.record["reason"]) == (failure_class, reason)
    assert "dataset d" in launched.record["message"]


def test_a_store_that_stays_away_is_said_after_the_outage_allowed(launch, s3, tmp_path):
    config = dataset(s3, "b", "k", tmp_path / "d") | {"storage": {"endpoint": "http://127.0.0.1:9", "region": "r"}}
    launched = launch("", config=config, env={"HEADRACE_OUTAGE_SECONDS": "3"})
    wait_until(lambda: launched.progress.get("conditions", {}).get("storage") == "Buffering", 30, "Buffering is said")
    assert launched.wait() == 4, launched.log
    assert (launched.record["class"], launched.record["reason"]) == ("Storage", "StorageUnavailable")


@pytest.mark.parametrize(
    ("bucket", "env", "reason"),
    [("no-such-bucket", {}, "BucketNotFound"), (None, {"AWS_SECRET_ACCESS_KEY": "wrong"}, "StorageForbidden")],
)
def test_a_checkpoint_place_that_cannot_be_written_is_known_before_training(launch, s3, bucket, env, reason):
    config = {"storage": storage(s3), "checkpoint": {"uri": f"s3://{bucket or s3.bucket()}/c"}}
    launched = launch("raise SystemError('started')", config=config, env=env)
    assert launched.wait() == 4, launched.log
    assert (launched.record["class"], launched.record["reason"]) == ("Storage", reason)


@pytest.mark.parametrize("missing", ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"])
@pytest.mark.parametrize("reads", ["a dataset", "checkpoints"])
def test_a_secret_without_one_of_the_keys_is_told_with_the_field_and_both_keys(launch, s3, tmp_path, missing, reads):
    bucket = s3.bucket()
    config = {
        "a dataset": dataset(s3, bucket, "key", tmp_path / "d"),
        "checkpoints": {"storage": storage(s3), "checkpoint": {"uri": f"s3://{bucket}/c"}},
    }[reads]
    launched = launch("", config=config, env={missing: "", "AWS_EC2_METADATA_DISABLED": "true"})
    assert launched.wait() != 0, launched.log
    assert "the pod has no keys for S3" in launched.record["message"]
    hint = launched.record["hint"]
    assert "spec.storage.secretRef.name" in hint
    assert "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in hint
    assert "headrace tenant add NAMESPACE" in hint


def checkpointing(s3, bucket, keep=2):
    return {
        "storage": storage(s3),
        "checkpoint": {"uri": f"s3://{bucket}/jobs/uid", "intervalSeconds": 1, "keep": keep},
    }


SAVES = """
import os, time
from standin_adapter import *
say("fit", fit=0, epochs=1, stepsPerEpoch=100)
for step in range(1, 5):
    say("step", fit=0, epoch=0, step=step, time=now(), metrics={"loss": 1 / step})
    folder = checkpoint(step, content=f"weights {step}")
    while os.path.exists(folder):  # the launcher takes it away when it is uploaded
        time.sleep(0.02)
raise RuntimeError("broken off")
"""
GOES_ON = """
from standin_adapter import *
print("found", open(os.environ["HEADRACE_RESUME_DIR"] + "/state.json").read())
say("resume", fit=0, epoch=0, step=4, exact=True, message="")
train(6, start=4)
"""


def test_the_next_attempt_goes_on_from_the_newest_complete_checkpoint(launch, s3):
    bucket = s3.bucket()
    first = launch(SAVES, config=checkpointing(s3, bucket))
    assert first.wait() == 1
    assert first.record["checkpoint"]["uri"] == f"s3://{bucket}/jobs/uid/attempt-1/ckpt-00000004"
    assert not list((first.work / ".headrace/checkpoints").iterdir())  # nothing stays on the pod's disk
    kept = {key.split("/")[3] for key in s3.keys(bucket, "jobs/uid/attempt-1/ckpt")}
    assert kept == {"ckpt-00000003", "ckpt-00000004"}
    s3.put(bucket, "jobs/uid/attempt-1/ckpt-00000009/state.json", b"no manifest: cut off")

    second = launch(GOES_ON, config=checkpointing(s3, bucket), attempt=2)
    assert second.wait() == 0, second.log
    assert "found weights 4" in second.log
    assert second.record["resume"] == {"attempt": 1, "fit": 0, "epoch": 1, "step": 4, "exact": True, "message": ""}
    assert json.loads(s3.get(bucket, "jobs/uid/attempt-2/resume.json")) == {"checkpoint": "attempt-1/ckpt-00000004"}


def put_checkpoint(s3, bucket, attempt, number, stored=None):
    """A complete checkpoint as a launcher leaves it; `stored` is what became of the file since."""
    place, content = f"jobs/uid/attempt-{attempt}/ckpt-{number:08d}", f"weights {number}".encode()
    s3.put(bucket, f"{place}/state.json", content if stored is None else stored)
    file = {"path": "state.json", "sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
    where = {"fit": 0, "epoch": 0, "step": number, "time": 1, "base": {"steps": 0, "epochs": 0}, "stepsPerEpoch": None}
    s3.put(bucket, f"{place}/manifest.json", json.dumps({"files": [file], "protocol": 1, **where}).encode())


def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(launch, s3):
    bucket = s3.bucket()
    put_checkpoint(s3, bucket, attempt=1, number=3)
    put_checkpoint(s3, bucket, attempt=2, number=4, stored=b"rotten")
    launched = launch(GOES_ON, config=checkpointing(s3, bucket), attempt=3)
    assert launched.wait() == 0, launched.log
    assert "found weights 3" in launched.log
    assert launched.record["resume"]["attempt"] == 1


def test_another_worker_takes_the_checkpoint_that_the_chief_has_chosen(launch, s3):
    bucket = s3.bucket()
    put_checkpoint(s3, bucket, attempt=1, number=3)
    put_checkpoint(s3, bucket, attempt=1, number=4)
    s3.put(bucket, "jobs/uid/attempt-2/resume.json", b'{"checkpoint":"attempt-1/ckpt-00000003"}')
    config = checkpointing(s3, bucket) | {"workers": {"count": 2, "addresses": ["127.0.0.1", "127.0.0.2"]}}
    worker = launch(GOES_ON, config=config, attempt=2, env={"JOB_COMPLETION_INDEX": "1"})
    assert worker.wait() == 0, worker.log
    assert "found weights 3" in worker.log


def test_an_attempt_that_was_cut_off_touches_nothing_of_a_later_one(launch, s3):
    bucket = s3.bucket()
    put_checkpoint(s3, bucket, attempt=2, number=100)
    cut_off = launch(SAVES, config=checkpointing(s3, bucket, keep=1), attempt=1)
    assert cut_off.wait() == 1, cut_off.log
    kept = {key.removeprefix("jobs/uid/").rpartition("/")[0] for key in s3.keys(bucket) if "ckpt" in key}
    assert kept == {"attempt-1/ckpt-00000004", "attempt-2/ckpt-00000100"}


STOPS = """
import os, signal, time
from standin_adapter import *
def stop(*_):
    checkpoint(7, content="at the stop")
    os._exit(75)
signal.signal(signal.SIGTERM, stop)
say("fit", fit=0, epochs=1, stepsPerEpoch=1000)
say("step", fit=0, epoch=0, step=7, time=now(), metrics={"loss": 0.1})
time.sleep(60)
"""


def test_sigterm_ends_in_a_checkpoint_and_says_interrupted(launch, s3):
    bucket = s3.bucket()
    launched = launch(STOPS, config=checkpointing(s3, bucket))
    wait_until(lambda: launched.progress.get("step") == 7, 30, "the script trains")
    launched.process.send_signal(signal.SIGTERM)
    assert launched.wait() == 6, launched.log
    record = launched.record
    assert (record["outcome"], record["class"], record["reason"]) == ("Interrupted", "Disrupted", "Terminated")
    assert record["checkpoint"]["step"] == 7
    assert s3.get(bucket, "jobs/uid/attempt-1/ckpt-00000007/state.json") == b"at the stop"


def test_a_script_that_ignores_sigterm_is_ended_within_the_grace(launch):
    script = """
import signal
from standin_adapter import *
signal.signal(signal.SIGTERM, signal.SIG_IGN)
train(1000, pause=0.1)
"""
    launched = launch(script, env={"HEADRACE_GRACE_SECONDS": "4"})
    wait_until(lambda: launched.progress.get("step"), 30, "the script trains")
    started = time.monotonic()
    launched.process.send_signal(signal.SIGTERM)
    assert launched.wait() == 6, launched.log
    assert time.monotonic() - started < 4
    assert "no checkpoint was kept" in launched.record["message"]


def test_a_script_that_answers_sigterm_with_exit_0_has_not_trained_to_its_end(launch):
    script = """
import signal, sys
from standin_adapter import *
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
train(1000, pause=0.1)
"""
    launched = launch(script)
    wait_until(lambda: launched.progress.get("step"), 30, "the script trains")
    launched.process.send_signal(signal.SIGTERM)
    assert launched.wait() == 6, launched.log
    assert launched.record["outcome"] == "Interrupted"


def test_sigterm_while_preparing_ends_at_once(launch, s3, tmp_path):
    config = dataset(s3, "b", "k", tmp_path / "d") | {"storage": {"endpoint": "http://127.0.0.1:9", "region": "r"}}
    launched = launch("", config=config)
    wait_until(lambda: launched.progress.get("conditions", {}).get("storage") == "Buffering", 30, "it prepares")
    launched.process.send_signal(signal.SIGTERM)
    assert launched.wait(10) == 6
    assert launched.record["outcome"] == "Interrupted"


def test_while_the_store_is_away_training_goes_on_and_the_newest_checkpoint_arrives_later(launch, s3):
    bucket = s3.bucket()
    script = """
import os, time
from standin_adapter import *
say("fit", fit=0, epochs=1, stepsPerEpoch=10)
for step in range(1, 400):
    say("step", fit=0, epoch=0, step=step, time=now(), metrics={})
    if step % 10 == 0: checkpoint(step)
    if os.path.exists("enough"): break
    time.sleep(0.05)
say("trained", kind="fit", steps=step)
time.sleep(3)
"""
    launched = launch(script, config=checkpointing(s3, bucket))
    wait_until(lambda: launched.progress.get("checkpoint"), 30, "the first checkpoint is kept")
    s3.stop()
    try:
        wait_until(lambda: launched.progress["conditions"]["storage"] == "Buffering", 30, "Buffering is said")
        step = launched.progress["step"]
        wait_until(lambda: launched.progress["step"] > step + 20, 30, "training goes on")
        assert len(list((launched.work / ".headrace/checkpoints").iterdir())) <= 2
    finally:
        s3.start()
        s3.await_up()
    wait_until(lambda: launched.progress["checkpoint"]["step"] > step, 20, "a newer checkpoint is kept")
    assert launched.progress["conditions"]["storage"] == "Ok"
    (launched.work / "enough").touch()
    assert launched.wait() == 0, launched.log


@pytest.fixture
def delivery(s3, mlflow):
    bucket = s3.bucket()
    tracking = mlflow.experiment("deliver", f"s3://{bucket}/mlflow")
    config = {"storage": storage(s3), "tracking": tracking, "output": {"formats": ["TensorFlow", "ONNX"]}}
    return bucket, tracking, config


def test_the_model_arrives_with_its_manifest_last_and_its_digest_is_in_record_and_run(launch, s3, mlflow, delivery):
    bucket, tracking, config = delivery
    launched = launch("from standin_adapter import *\ntrain(3)\nexport('TensorFlow', 'ONNX')", config=config)
    assert launched.wait() == 0, launched.log
    [run] = mlflow.runs(tracking["experimentId"])
    uri = launched.record["model"]["uri"]
    assert uri == f"{run['info']['artifact_uri']}/model/attempt-1"
    prefix = uri.removeprefix(f"s3://{bucket}/")
    text = s3.get(bucket, f"{prefix}/manifest.json")
    digest = f"sha256:{hashlib.sha256(text).hexdigest()}"
    tags = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
    assert launched.record["model"] == {"uri": uri, "digest": digest, "formats": ["ONNX", "TensorFlow"]}
    assert tags["headrace.digest"] == digest
    for file in json.loads(text)["files"]:
        data = s3.get(bucket, f"{prefix}/{file['path']}")
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (file["sha256"], file["size"])


DESCRIBED = {
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1]}],
}


def test_the_run_says_what_the_model_takes_and_answers_and_not_what_an_earlier_attempt_s_did(launch, mlflow, delivery):
    _, tracking, config = delivery
    described = f"""
from standin_adapter import *
import json
train(3)
export("ONNX")
with open(os.path.join(os.environ["HEADRACE_EXPORT_DIR"], "signature.json"), "w") as file:
    json.dump({DESCRIBED!r}, file)
"""
    told = []
    for attempt, script in enumerate([described, "from standin_adapter import *\ntrain(3)\nexport('ONNX')"], 1):
        launched = launch(script, config=config, attempt=attempt)
        assert launched.wait() == 0, launched.log
        [run] = mlflow.runs(tracking["experimentId"])
        told.append({tag["key"]: tag["value"] for tag in run["data"]["tags"]}["headrace.signature"])

    assert told == ['{"inputs":{"x":"FP32 [-1,4]"},"outputs":{"y":"FP32 [-1]"}}', "unknown"]


def test_each_attempt_has_a_place_of_its_own_for_its_model(launch, s3, delivery):
    bucket, _, config = delivery
    script = "from standin_adapter import *\ntrain(3)\nexport('TensorFlow', 'ONNX')"
    uris = []
    for attempt in (1, 2):
        launched = launch(script, config=config, attempt=attempt)
        assert launched.wait() == 0, launched.log
        uris.append(launched.record["model"]["uri"])

    manifests = sorted(key for key in s3.keys(bucket) if key.endswith("/manifest.json"))

    assert [f"s3://{bucket}/{key.removesuffix('/manifest.json')}" for key in manifests] == uris


def test_a_format_that_cannot_be_made_does_not_keep_the_other_back_and_its_reason_is_told(launch, s3, mlflow, delivery):
    bucket, tracking, config = delivery
    script = """
from standin_adapter import *
train(1)
export("TensorFlow", "ONNX")
say("exportFailed", format="ONNX", message="no such operator")
"""
    launched = launch(script, config=config)
    assert launched.wait() == 0, launched.log
    record = launched.record
    assert (record["outcome"], record["model"]["formats"]) == ("Succeeded", ["TensorFlow"])
    assert record["modelNote"] == "ONNX cannot be made of this model: no such operator"
    [run] = mlflow.runs(tracking["experimentId"])
    tags = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
    assert tags["headrace.export.TensorFlow"] == "exported"
    assert tags["headrace.export.ONNX"] == "failed: no such operator"
    manifest = s3.get(bucket, f"{record['model']['uri'].removeprefix(f's3://{bucket}/')}/manifest.json")
    assert record["model"]["digest"] == tags["headrace.digest"] == f"sha256:{hashlib.sha256(manifest).hexdigest()}"
    # The digest is of the formats that there are.
    assert json.loads(manifest)["formats"] == {"TensorFlow": "tensorflow"}
    paths = {file["path"] for file in json.loads(manifest)["files"]}
    assert paths == {"signature.json", "tensorflow/saved_model.pb", *OF_MLFLOW}


def test_a_trial_of_the_export_is_told_while_the_script_trains(launch, mlflow, delivery):
    _, tracking, config = delivery
    script = """
from standin_adapter import *
problems = {"ONNX": "layer 'doubt' (Doubt) computes Noise, which ONNX does not have"}
say("fit", fit=0, epochs=1, stepsPerEpoch=3)
say("exportTrial", model="model (sequential)", seconds=3.24, formats=["TensorFlow"], problems=problems)
while not os.path.exists("go-on"):
    time.sleep(0.1)
train(3)
export("TensorFlow", "ONNX")
"""
    launched = launch(script, config=config)
    wait_until(lambda: "exportTrial" in launched.progress, 30, "the trial is told")
    told = launched.progress["exportTrial"]
    (launched.work / "go-on").touch()
    assert launched.wait() == 0, launched.log

    sentence = (
        "export of model model (sequential) (tried in 3.2 s, in the middle of the training): ONNX cannot be made: "
        "layer 'doubt' (Doubt) computes Noise, which ONNX does not have; the training goes on; if another model is "
        "meant, name it with headrace_client.export"
    )
    assert told == {"failed": ["ONNX"], "message": sentence}
    assert sentence in launched.log
    [run] = mlflow.runs(tracking["experimentId"])
    assert {tag["key"]: tag["value"] for tag in run["data"]["tags"]}["headrace.export.trial"] == sentence


def test_the_run_says_which_model_it_is_and_what_was_measured_on_it(launch, mlflow, delivery):
    _, tracking, config = delivery
    script = """
from standin_adapter import *
train(1)
said = {"name": "best (sequential_1)", "reason": "the model of the last evaluate; not chosen: model"}
say("model", **said, metrics={"val_loss": 0.25, "eval_recall@5": "NaN"}, unmeasured=["loss"])
say("model", **said, metrics={"eval_loss": 0.5}, unmeasured=["loss"])
export("TensorFlow", "ONNX")
"""
    launched = launch(script, config=config)
    assert launched.wait() == 0, launched.log
    [run] = mlflow.runs(tracking["experimentId"])
    tags = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
    assert tags["headrace.model"] == "best (sequential_1)"
    assert tags["headrace.model.reason"] == "the model of the last evaluate; not chosen: model"
    told = {"val_loss": 0.25, "eval_recall_5": "NaN", "eval_loss": 0.5, "loss": None}
    assert json.loads(tags["headrace.model.metrics"]) == told


def test_of_several_models_that_could_be_meant_each_is_kept_and_none_is_the_jobs(launch, s3, mlflow, delivery):
    bucket, tracking, config = delivery
    script = """
from standin_adapter import *
train(1)
say("exporting")
candidates = []
for number, name in enumerate(["generator", "critic", "strange"], start=1):
    folder = os.environ["HEADRACE_EXPORT_DIR"] + f"-candidates/{number}"
    os.makedirs(folder + "/onnx")
    with open(folder + "/onnx/model.onnx", "w") as file:
        file.write(name)
    formats = ["ONNX"] if name != "strange" else []
    candidates.append({"name": name, "origin": "trained by fit", "dir": folder, "formats": formats})
candidates.append({"name": "elsewhere", "origin": "trained by fit", "dir": "/etc", "formats": ["ONNX"]})
say("ambiguous", candidates=candidates, more=2)
"""
    launched = launch(script, config=config)
    assert launched.wait() == 0, launched.log
    record = launched.record
    assert (record["outcome"], record["reason"], record.get("model")) == ("Succeeded", "AmbiguousModel", None)
    assert record["message"].startswith("6 models could be meant, and the script names none: 1. generator (trained by")
    assert "3. strange (trained by fit, could not be exported)" in record["message"]
    place = record["message"].split("kept at ")[1].removesuffix("/NUMBER")
    keys = [key for key in s3.keys(bucket) if "/candidates/" in key]
    root = place.removeprefix(f"s3://{bucket}/")
    wanted = {"manifest.json", "onnx/model.onnx", "onnx/MLmodel", *OF_MLFLOW}
    assert set(keys) == {f"{root}/{number}/{name}" for number in (1, 2) for name in wanted}
    [run] = mlflow.runs(tracking["experimentId"])
    tags = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
    assert run["info"]["status"] == "FINISHED"
    assert tags["headrace.model.reason"] == record["message"]
    assert "headrace.digest" not in tags


def test_where_no_format_can_be_made_the_job_fails_with_the_reason_of_each(launch, s3, delivery):
    bucket, _, config = delivery
    script = """
from standin_adapter import *
train(1)
say("exporting")
say("exportFailed", format="ONNX", message="no such operator")
say("exportFailed", format="TensorFlow", message="no call()")
"""
    launched = launch(script, config=config)
    assert launched.wait() == 2, launched.log
    assert (launched.record["class"], launched.record["reason"]) == ("Config", "BadConfig")
    assert "ONNX cannot be made of this model: no such operator" in launched.record["message"]
    assert "TensorFlow cannot be made of this model: no call()" in launched.record["message"]
    assert not [key for key in s3.keys(bucket) if key.endswith("manifest.json")]
