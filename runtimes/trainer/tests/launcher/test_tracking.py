"""The run in MLflow, against a real server."""

import signal
import time

import pytest
from trainer_support import wait_until


def tags_of(run):
    return {tag["key"]: tag["value"] for tag in run["data"]["tags"]}


@pytest.fixture
def tracking(mlflow):
    return mlflow.experiment("tracking", "s3://unused/mlflow")


def test_a_run_has_the_job_s_name_tags_parameters_and_metrics(launch, mlflow, tracking):
    config = {"tracking": tracking, "parameters": {"epochs": 2, "rate": 0.1, "name": "x"}}
    script = (
        "from standin_adapter import *\ntrain(6, epochs=2, per_epoch=3)\nsay('evaluate', metrics={'accuracy': 0.75})"
    )
    launched = launch(script, config=config)
    assert launched.wait() == 0, launched.log
    [run] = mlflow.runs(tracking["experimentId"])
    assert run["info"]["status"] == "FINISHED"
    assert run["info"]["run_name"] == "job"
    expected = {
        "headrace.namespace": "team-a",
        "headrace.name": "job",
        "headrace.uid": "uid-1",
        "headrace.attempt": "1",
    }
    assert expected.items() <= tags_of(run).items()
    assert {p["key"]: p["value"] for p in run["data"]["params"]} == {"epochs": "2", "rate": "0.1", "name": "x"}
    run_id = run["info"]["run_id"]
    assert [m["step"] for m in mlflow.history(run_id, "loss")] == [1, 2, 3, 4, 5, 6]
    assert [m["step"] for m in mlflow.history(run_id, "epoch/loss")] == [1, 2]
    assert [m["step"] for m in mlflow.history(run_id, "val_accuracy")] == [1, 2]
    assert [m["value"] for m in mlflow.history(run_id, "eval_accuracy")] == [0.75]
    record = launched.record
    assert record["run"] == {"id": run_id, "experimentId": tracking["experimentId"]}
    assert record["metrics"] == {
        "loss": pytest.approx(1 / 6),
        "val_accuracy": pytest.approx(6 / 7),
        "eval_accuracy": 0.75,
    }
    assert (record["progress"]["percent"], record["progress"]["epoch"], record["progress"]["steps"]) == (100.0, 2, 6)


def test_attempts_share_a_run_and_no_step_is_logged_twice(launch, mlflow, tracking):
    first = launch("from standin_adapter import *\ntrain(5)\nraise RuntimeError('no')", config={"tracking": tracking})
    assert first.wait() == 1
    [failed] = mlflow.runs(tracking["experimentId"])
    second = launch("from standin_adapter import *\ntrain(8, start=2)", config={"tracking": tracking}, attempt=2)
    assert second.wait() == 0, second.log
    [run] = mlflow.runs(tracking["experimentId"])
    assert (failed["info"]["status"], run["info"]["status"]) == ("FAILED", "FINISHED")
    assert tags_of(run)["headrace.attempt"] == "2"
    assert [m["step"] for m in mlflow.history(run["info"]["run_id"], "loss")] == [1, 2, 3, 4, 5, 6, 7, 8]


def test_an_attempt_that_was_cut_off_and_trains_on_writes_nothing_once_a_later_one_is_there(launch, mlflow, tracking):
    cut_off = launch(LOGS, config={"tracking": tracking})
    wait_until(lambda: (cut_off.progress.get("step") or 0) > 20, 60, "the script trains")
    follows = launch(
        "from standin_adapter import *\ntrain(400, start=10, pause=0.02)", config={"tracking": tracking}, attempt=2
    )
    assert follows.wait() == 0, follows.log
    (cut_off.work / "enough").touch()
    assert cut_off.wait() == 0, cut_off.log

    [run] = mlflow.runs(tracking["experimentId"])
    steps = [m["step"] for m in mlflow.history(run["info"]["run_id"], "loss")]
    assert sorted(steps) == list(range(1, 401))  # in the order of time the faster of the two may be ahead
    assert "attempt 2 writes the run now" in cut_off.log
    assert (run["info"]["status"], tags_of(run)["headrace.attempt"]) == ("FINISHED", "2")


def test_nan_is_nan_in_the_run_and_in_the_record(launch, mlflow, tracking):
    script = """
from standin_adapter import *
train(2)
say("epoch", fit=0, epoch=1, step=4, time=now(), metrics={"loss": "NaN", "val_loss": "Infinity", "prc:auc": 0.5})
say("evaluate", metrics={"top@5": 0.5, "a//b": 1})
"""
    launched = launch(script, config={"tracking": tracking})
    assert launched.wait() == 0, launched.log

    assert {k: v for k, v in launched.record["metrics"].items() if k in ("loss", "val_loss")} == {
        "loss": "NaN",
        "val_loss": "Infinity",
    }
    [run] = mlflow.runs(tracking["experimentId"])
    values = {metric["key"]: metric["value"] for metric in run["data"]["metrics"]}
    assert values["epoch/loss"] == "NaN"
    assert float(values["val_loss"]) > 1e308  # a SQL store keeps infinity as the largest float
    assert {"epoch/prc:auc", "eval_top_5", "eval_a/_/b"} <= values.keys()


def made_by_attempt(mlflow, tracking, attempt, **metrics):
    """The run as an attempt has left it; `metrics` are the steps that it has logged of each key."""
    tags = [{"key": "headrace.uid", "value": "uid-1"}, {"key": "headrace.attempt", "value": str(attempt)}]
    body = {"experiment_id": tracking["experimentId"], "run_name": "job", "start_time": 1, "tags": tags}
    run_id = mlflow.call("POST", "runs/create", body)["run"]["info"]["run_id"]
    values = [{"key": k, "value": 1 / n, "timestamp": n, "step": n} for k, steps in metrics.items() for n in steps]
    mlflow.call("POST", "runs/log-batch", {"run_id": run_id, "metrics": values})
    return run_id


def test_an_attempt_that_finds_a_later_one_at_its_start_trains_nothing_and_leaves_the_run_alone(
    launch, mlflow, tracking
):
    made_by_attempt(mlflow, tracking, 2)
    late = launch("raise SystemError('started')", config={"tracking": tracking}, attempt=1)
    assert late.wait() == 6, late.log

    assert "attempt 2 writes the run now" in late.record["message"]
    [run] = mlflow.runs(tracking["experimentId"])
    assert tags_of(run) == {"headrace.uid": "uid-1", "headrace.attempt": "2"} | {
        key: value for key, value in tags_of(run).items() if key.startswith("mlflow.")
    }
    assert run["info"]["status"] == "RUNNING"


def test_an_attempt_that_finds_a_later_one_when_mlflow_is_back_delivers_nothing(launch, mlflow, mlflow_gate, s3):
    bucket, tracking = s3.bucket(), mlflow_gate.experiment("tracking", "s3://unused/mlflow")
    storage = {"endpoint": s3.endpoint, "region": "us-east-1"}
    config = {"tracking": tracking, "storage": storage, "output": {"formats": ["ONNX"]}}
    made_by_attempt(mlflow, tracking, 2)
    with mlflow_gate.shut():
        late = launch(LOGS + "export('ONNX')", config=config, attempt=1)
        wait_until(lambda: late.progress.get("step"), 60, "it trains without a run")
    wait_until(lambda: "attempt 2 writes the run now" in late.log, 60, "it finds the later attempt")
    (late.work / "enough").touch()
    assert late.wait() == 6, late.log

    assert "attempt 2 writes the run now" in late.record["message"]
    [run] = mlflow.runs(tracking["experimentId"])
    assert (tags_of(run)["headrace.attempt"], run["info"]["status"]) == ("2", "RUNNING")
    assert not run["data"].get("metrics")
    assert not s3.keys(bucket)


def test_a_step_that_was_never_logged_is_logged_although_later_ones_were(launch, mlflow, tracking):
    run_id = made_by_attempt(mlflow, tracking, 1, loss=[1, 2, 6, 7])
    second = launch("from standin_adapter import *\ntrain(9)", config={"tracking": tracking}, attempt=2)
    assert second.wait() == 0, second.log

    history = mlflow.history(run_id, "loss")
    assert sorted(m["step"] for m in history) == [1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert {m["step"] for m in history if m["timestamp"] < 10} == {1, 2, 6, 7}  # what was there is kept


def test_an_interrupted_run_stays_running(launch, mlflow, tracking):
    launched = launch("from standin_adapter import *\ntrain(1000, pause=0.1)", config={"tracking": tracking})
    wait_until(lambda: (launched.progress.get("step") or 0) > 3, 40, "the script trains")
    launched.process.send_signal(signal.SIGTERM)
    assert launched.wait() == 6, launched.log
    [run] = mlflow.runs(tracking["experimentId"])
    assert run["info"]["status"] == "RUNNING"
    assert len(mlflow.history(run["info"]["run_id"], "loss")) >= 3  # what was measured was sent


def test_values_that_json_does_not_have_arrive_and_hold_nothing_up(launch, mlflow, tracking):
    script = """
from standin_adapter import *
say("step", fit=0, epoch=0, step=1, time=now(), metrics={"loss": float("nan"), "norm": float("inf")})
train(2)
"""
    launched = launch(script, config={"tracking": tracking})
    assert launched.wait() == 0, launched.log
    [run] = mlflow.runs(tracking["experimentId"])
    assert str(mlflow.history(run["info"]["run_id"], "loss")[0]["value"]) in ("nan", "NaN")
    assert [m["step"] for m in mlflow.history(run["info"]["run_id"], "loss")] == [1, 2]


def test_a_server_that_refuses_fails_before_training(launch, mlflow):
    missing = {"url": mlflow.url, "experiment": "team-a/gone", "experimentId": "987654321"}
    launched = launch("raise SystemError('started')", config={"tracking": missing})
    assert launched.wait() == 4, launched.log
    assert (launched.record["class"], launched.record["reason"]) == ("Tracking", "TrackingForbidden")
    assert "team-a/gone" in launched.record["message"]


def test_a_server_that_stays_away_fails_in_the_end_only(launch):
    away = {"url": "http://127.0.0.1:9", "experiment": "e", "experimentId": "1"}
    launched = launch(
        "from standin_adapter import *\ntrain(3)", config={"tracking": away}, env={"HEADRACE_OUTAGE_SECONDS": "2"}
    )
    assert launched.wait() == 4, launched.log
    assert (launched.record["class"], launched.record["reason"]) == ("Tracking", "TrackingUnavailable")
    assert launched.record["progress"]["step"] == 3


LOGS = """
import os, time
from standin_adapter import *
step = 0
while not os.path.exists("enough"):
    step += 1
    say("step", fit=0, epoch=0, step=step, time=now(), metrics={"loss": 1 / step, "accuracy": 0.5})
    time.sleep(0.05)
say("trained", kind="custom", steps=step)
"""


@pytest.mark.parametrize(
    ("away", "back", "seconds"),
    # A frozen server does later what it was asked before the launcher gave up on it, and asked for again.
    [("stop", "start", 20), ("freeze", "thaw", 12)],
)
def test_an_mlflow_that_is_away_for_long_loses_nothing_and_gets_nothing_twice(
    launch, mlflow, tracking, away, back, seconds
):
    launched = launch(LOGS, config={"tracking": tracking})
    wait_until(lambda: (launched.progress.get("step") or 0) > 20, 60, "the script trains")
    gone = time.monotonic()
    getattr(mlflow, away)()
    try:
        wait_until(lambda: launched.progress["conditions"]["tracking"] == "Buffering", 40, "Buffering is said")
        during = launched.progress["step"]
        time.sleep(1)
        assert launched.progress["step"] > during + 5  # training does not wait
        if back == "thaw":
            time.sleep(max(0.0, seconds - (time.monotonic() - gone)))
    finally:
        getattr(mlflow, back)()
        mlflow.await_up()  # a start takes seconds of its own
        time.sleep(max(0.0, seconds - (time.monotonic() - gone)))
    wait_until(lambda: launched.progress["conditions"]["tracking"] == "Ok", 90, "it is Ok again")
    (launched.work / "enough").touch()
    assert launched.wait() == 0, launched.log
    [run] = mlflow.runs(tracking["experimentId"])
    last = launched.record["progress"]["step"]
    for key in ("loss", "accuracy"):
        history = mlflow.history(run["info"]["run_id"], key)
        assert [m["step"] for m in history] == list(range(1, last + 1))
    times = [m["timestamp"] for m in history]
    assert times == sorted(times)
    assert times[-1] - times[0] > 1000 * seconds  # when they were measured, not when they arrived


def delete_run(mlflow, tracking):
    """As a person does it in the page of the run; how it is restored."""
    [run] = mlflow.runs(tracking["experimentId"])
    mlflow.call("POST", "runs/delete", {"run_id": run["info"]["run_id"]})
    return lambda: mlflow.call("POST", "runs/restore", {"run_id": run["info"]["run_id"]})


def delete_experiment(mlflow, tracking):
    mlflow.call("POST", "experiments/delete", {"experiment_id": tracking["experimentId"]})
    return lambda: mlflow.call("POST", "experiments/restore", {"experiment_id": tracking["experimentId"]})


@pytest.fixture(params=[delete_run, delete_experiment])
def deleted(request, launch, mlflow, s3):
    """A launcher that trains and exports, and is told that its run is deleted; and how to restore that."""
    bucket = s3.bucket()
    storage = {"endpoint": s3.endpoint, "region": "us-east-1"}
    tracking = mlflow.experiment("deleted", f"s3://{bucket}/mlflow")
    config = {"tracking": tracking, "storage": storage, "output": {"formats": ["ONNX"]}}
    launched = launch(LOGS + "export('ONNX')", config=config)
    wait_until(lambda: (launched.progress.get("step") or 0) > 20, 60, "the script trains")
    restore = request.param(mlflow, tracking)
    wait_until(lambda: launched.progress["conditions"]["tracking"] == "RunDeleted", 25, "RunDeleted is said")
    return launched, tracking, config, restore


def test_a_deleted_run_holds_no_model_up_and_the_end_says_where_that_is(launch, s3, mlflow, deleted):
    launched, tracking, config, restore = deleted
    calls = requests_of(mlflow)
    time.sleep(10)
    assert requests_of(mlflow) - calls <= 5  # of the launcher; nothing else asks
    (launched.work / "enough").touch()
    ended = time.monotonic()
    assert launched.wait() == 4, launched.log
    assert time.monotonic() - ended < 20  # not HEADRACE_OUTAGE_SECONDS

    record = launched.record
    assert (record["class"], record["reason"]) == ("Tracking", "RunDeleted")
    uri = record["model"]["uri"]
    assert uri in record["message"]
    assert "Restore" in record["hint"]
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    assert f"{key}/manifest.json" in s3.keys(bucket)

    trains_nothing = launch("raise SystemError('started')", config=config, attempt=2)
    assert trains_nothing.wait() == 4, trains_nothing.log
    assert trains_nothing.record["reason"] == "RunDeleted"
    restore()
    follows = launch("from standin_adapter import *\ntrain(3)\nexport('ONNX')", config=config, attempt=3)
    assert follows.wait() == 0, follows.log
    [run] = mlflow.runs(tracking["experimentId"])
    assert run["info"]["status"] == "FINISHED"


def test_a_run_that_is_restored_in_time_has_everything(mlflow, deleted):
    launched, tracking, _, restore = deleted
    restore()
    wait_until(lambda: launched.progress["conditions"]["tracking"] == "Ok", 30, "it is Ok again")
    (launched.work / "enough").touch()
    assert launched.wait() == 0, launched.log
    [run] = mlflow.runs(tracking["experimentId"])
    last = launched.record["progress"]["step"]
    assert [m["step"] for m in mlflow.history(run["info"]["run_id"], "loss")] == list(range(1, last + 1))
    assert run["info"]["status"] == "FINISHED"


def requests_of(mlflow):
    """How many requests MLflow has answered."""
    return mlflow.log.read_text().count(' HTTP/1.1"')
