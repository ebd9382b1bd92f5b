"""A stage of tuning as its pod runs it, against a real store and a real MLflow: asked as the operator asks, killed in
between, and what all trials came to kept with the job's run.
"""

from __future__ import annotations

import json
import signal
import urllib.error
import urllib.request

import pytest
from trainer_support import free_port, wait_until

SPACE = [
    {"name": "rate", "type": "Float", "min": 0.0001, "max": 0.1, "log": True},
    {"name": "units", "type": "Int", "min": 8, "max": 64, "step": 8},
    {"name": "kind", "type": "Categorical", "values": ["relu", "tanh"]},
]


class Tuning:
    def __init__(self, program, s3, mlflow, tmp_path):
        self.bucket, self.port = s3.bucket(), free_port()
        self.tracking = mlflow.experiment("tuning", f"s3://{self.bucket}/artifacts")
        self._start, self._s3, self._folder = program, s3, tmp_path

    def start(self, attempt=1, **more):
        tuning = {
            "metric": "accuracy",
            "goal": "Maximize",
            "sampler": "TPE",
            "seed": 7,
            "space": SPACE,
            "maxTrials": 5,
            "first": {"rate": 0.02},
            "port": self.port,
            **more,
        }
        config = {
            "protocol": 6,
            "stage": "tune",
            "tuning": tuning,
            "job": {"namespace": "team-a", "name": "job", "uid": "uid-1", "attempt": attempt},
            "storage": {"endpoint": self._s3.endpoint, "region": "us-east-1"},
            "tracking": self.tracking,
            "source": {"path": str(self._folder / "no-source"), "entrypoint": ""},
        }
        return self._start("", config=config)

    def ask(self, body):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/trials", data, method="POST")
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read())

    def answers(self):
        try:
            self.ask({"version": 1, "trials": []})
        except OSError:
            return False
        return True


def tags_of(run):
    return {one["key"]: one["value"] for one in run["data"]["tags"]}


def a_run(tuning, mlflow, *reported):
    """A trial's, which has logged this of the objective."""
    body = {"experiment_id": tuning.tracking["experimentId"], "start_time": 1}
    run = mlflow.call("POST", "runs/create", body)["run"]["info"]["run_id"]
    values = [{"key": "accuracy", "value": v, "timestamp": 1, "step": 7 * n} for n, v in enumerate(reported)]
    mlflow.call("POST", "runs/log-batch", {"run_id": run, "metrics": values})
    return run


@pytest.fixture
def tuning(program, s3, mlflow, tmp_path):
    return Tuning(program, s3, mlflow, tmp_path)


def test_trials_are_chosen_whoever_is_killed_and_what_they_came_to_is_kept(tuning, s3, mlflow):
    launched = tuning.start()
    wait_until(tuning.answers, 60, "an answer")
    asked = {"version": 1, "trials": [], "wanted": [0, 1]}
    first = tuning.ask(asked)["suggestions"]
    assert [one["number"] for one in first] == [0, 1]
    assert first[0]["parameters"]["rate"] == 0.02
    for wrong in (b"{", {"version": 9}, {"version": 1, "wanted": ["x"]}):
        with pytest.raises(urllib.error.HTTPError, match="400"):
            tuning.ask(wrong)

    launched.process.send_signal(signal.SIGTERM)
    assert launched.wait(30) != 0
    assert launched.record["outcome"] == "Interrupted"

    again = tuning.start(attempt=2)
    wait_until(tuning.answers, 60, "an answer")
    assert tuning.ask(asked)["suggestions"] == first
    made = [a_run(tuning, mlflow) for _ in range(3)]
    parameters = {"rate": 0.01, "units": 8, "kind": "relu"}
    trials = [
        {"number": 0, "state": "Succeeded", "value": 0.7, "run": made[0], "parameters": parameters},
        {"number": 1, "state": "Succeeded", "value": 0.9, "run": made[1], "parameters": parameters | {"kind": "tanh"}},
        {"number": 2, "state": "Failed", "run": made[2], "parameters": parameters},
    ]
    assert tuning.ask({"version": 1, "trials": trials, "last": True}) == {"version": 1, "suggestions": []}
    assert again.wait(60) == 0, again.log

    runs = {run["info"]["run_id"]: run for run in mlflow.runs(tuning.tracking["experimentId"])}
    job = again.record["run"]["id"]
    assert [tags_of(runs[run])["mlflow.parentRunId"] for run in made] == [job] * 3
    assert [tags_of(runs[run])["headrace.trial"] for run in made] == ["0", "1", "2"]
    best = tags_of(runs[job])
    assert (best["headrace.trial.best"], best["headrace.best.kind"], best["headrace.uid"]) == ("1", "tanh", "uid-1")
    assert runs[job]["info"]["status"] == "FINISHED"
    assert {one["key"]: one["value"] for one in runs[job]["data"]["metrics"]}["accuracy"] == 0.9
    kept = [key.rpartition("/")[2] for key in s3.keys(tuning.bucket) if "/artifacts/tuning/" in key]
    assert sorted(kept) == ["history.png", "importance.png", "parallel.png", "tuning.json"]


def test_models_that_are_spent_are_removed_and_nothing_else_is(tuning, s3, mlflow):
    """Also when the pod is killed meanwhile: the next one is told the same."""
    launched = tuning.start()
    parameters = {"rate": 0.01, "units": 8, "kind": "relu"}
    made = [a_run(tuning, mlflow, value) for value in (0.9, 0.5)]
    for run in made:
        for path in ("model/attempt-1/manifest.json", "model/attempt-1/onnx/model.onnx", "curves/loss.png"):
            s3.put(tuning.bucket, f"artifacts/{run}/artifacts/{path}", b"x")
    trials = [
        {"number": n, "state": "Succeeded", "value": 0.9, "run": run, "parameters": parameters, "spent": n == 1}
        for n, run in enumerate(made)
    ]
    wait_until(tuning.answers, 60, "an answer")
    tuning.ask({"version": 1, "trials": trials, "last": True})
    assert launched.wait(60) == 0, launched.log

    left = {
        run: [key.partition("/artifacts/")[2] for key in s3.keys(tuning.bucket, f"artifacts/{run}/")] for run in made
    }
    assert left[made[0]] == ["curves/loss.png", "model/attempt-1/manifest.json", "model/attempt-1/onnx/model.onnx"]
    assert left[made[1]] == ["curves/loss.png"]
    runs = {run["info"]["run_id"]: run for run in mlflow.runs(tuning.tracking["experimentId"])}
    assert "headrace.model.removed" not in tags_of(runs[made[0]])
    assert "tuning.keep" in tags_of(runs[made[1]])["headrace.model.removed"]
    assert {one["key"] for one in runs[made[1]]["data"]["metrics"]} == {"accuracy"}


def test_a_model_that_a_version_refers_to_by_now_stays(tuning, s3, mlflow):
    """It was made after the operator had decided."""
    launched = tuning.start()
    run = a_run(tuning, mlflow, 0.5)
    folder = f"artifacts/{run}/artifacts/model"
    s3.put(tuning.bucket, f"{folder}/attempt-2/manifest.json", b"x")
    name = f"made-by-hand-{run[:8]}"
    mlflow.call("POST", "registered-models/create", {"name": name})
    made = {"name": name, "source": f"s3://{tuning.bucket}/{folder}/attempt-2"}
    mlflow.call("POST", "model-versions/create", made)
    trial = {"number": 0, "state": "Succeeded", "value": 0.5, "run": run, "parameters": {}, "spent": True}
    wait_until(tuning.answers, 60, "an answer")
    tuning.ask({"version": 1, "trials": [trial], "last": True})
    assert launched.wait(60) == 0, launched.log

    assert f"{folder}/attempt-2/manifest.json" in s3.keys(tuning.bucket)
    assert f"version 1 of model {name} refers to it" in launched.log
    [found] = [one for one in mlflow.runs(tuning.tracking["experimentId"]) if one["info"]["run_id"] == run]
    assert "headrace.model.removed" not in tags_of(found)


def test_a_trial_that_is_behind_is_stopped_and_its_run_ended(tuning, mlflow):
    launched = tuning.start(pruner={"type": "Median", "startupTrials": 2, "warmupSteps": 1})
    parameters = {"rate": 0.01, "units": 8, "kind": "relu"}
    ended = [
        {"number": n, "state": "Succeeded", "value": 0.9, "run": a_run(tuning, mlflow, 0.5, 0.9)} for n in range(2)
    ]
    running = [
        {"number": 2, "state": "Running", "run": a_run(tuning, mlflow, 0.1, 0.2)},
        {"number": 3, "state": "Running", "run": a_run(tuning, mlflow, 0.5, 0.95)},
        {"number": 4, "state": "Running", "run": a_run(tuning, mlflow)},
    ]
    trials = [one | {"parameters": parameters} for one in (*ended, *running)]
    wait_until(tuning.answers, 60, "an answer")

    def is_stopped():
        return tuning.ask({"version": 1, "trials": trials}).get("pruned") == [2]

    wait_until(is_stopped, 30, "a trial that is stopped")
    trials[2]["state"] = "Pruned"
    for number in (3, 4):
        trials[number] |= {"state": "Succeeded", "value": 0.95}
    assert "pruned" not in tuning.ask({"version": 1, "trials": trials, "last": True})
    assert launched.wait(60) == 0, launched.log
    stopped = next(
        run for run in mlflow.runs(tuning.tracking["experimentId"]) if run["info"]["run_id"] == trials[2]["run"]
    )
    assert (stopped["info"]["status"], tags_of(stopped)["headrace.outcome"]) == ("KILLED", "pruned")
