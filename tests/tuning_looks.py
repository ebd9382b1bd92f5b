"""Looks at a TrainingJob that tries several parameters: its trials, and what is planned while they run and after."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from headrace.api.trainingjob import TrainingJob
from headrace.kube.plan import Plan
from headrace.kube.resources import Object
from headrace.settings import Settings
from headrace.training.observed import Observed, Source
from headrace.training.record import read_live
from headrace.training.tuning.trial import Trial, read_trial, render_trial
from headrace.training.view import Start
from headrace_common.protocol.trials import Answer
from training_builders import MODEL, NOW, SETTINGS, UID, batch_job, pod, record, stamp, training_job
from training_looks import look

SEEN = Source({"train.py": "", "prepare.py": "", "evaluate.py": ""}, "5")
NOTHING = Observed((), (), SEEN)
START = Start("3", "team-a", "team-a/x")
COMPLETE = (("Complete", ""),)
TUNING: dict[str, Any] = {
    "objective": {"metric": "val_accuracy", "goal": "Maximize"},
    "space": [
        {"name": "rate", "type": "Float", "min": "0.0001", "max": "0.1", "log": True},
        {"name": "kind", "type": "Categorical", "values": ["relu", "tanh"]},
    ],
    "maxTrials": 4,
    "parallel": 2,
    "maxFailedTrials": 1,
    "keep": 4,
}
SPEC: dict[str, Any] = {
    "tuning": TUNING,
    "parameters": {"epochs": 3, "rate": 0.01},
    "output": {"model": "text", "alias": "candidate", "formats": ["ONNX"], "approval": {"required": True}},
    "tracking": {"experiment": "x"},
    "datasets": [{"name": "images", "uri": "s3://team-a/images/"}],
    "evaluation": {"gates": [{"metric": "val_accuracy", "min": "0.5"}]},
    "activeDeadlineSeconds": 3600,
    "ttlSecondsAfterFinished": 60,
    "checkpoint": {"interval": "1m"},
    "podTemplate": {"spec": {"nodeSelector": {"pool": "small"}}},
}
ONE_KEPT = {"tuning": TUNING | {"keep": 1}}
ANY_FAILURES = {"tuning": TUNING | {"maxFailedTrials": 4}}
GIVEN = {"rate": 0.02, "kind": "tanh"}


def tuned(status: Object | None = None, **spec: Any) -> TrainingJob:
    return training_job(status, workers=1, **SPEC | spec)


def trial_object(number: int, state: str = "Running", reason: str = "Training", **status: Any) -> Object:
    made = render_trial(tuned(), number, GIVEN)
    run = {"id": f"run-{number}", "experimentID": "3"}
    told = {"state": state, "reason": reason, "message": "so", "run": run} | status
    return made | {"metadata": made["metadata"] | {"uid": f"uid-t{number}"}, "status": told}


def ended(number: int, value: str, **more: Any) -> Object:
    model = {"uri": f"s3://team-a/t{number}/model", "digest": MODEL["digest"], "formats": ["ONNX"]}
    metrics = {"val_accuracy": value, "loss": "0.1"}
    return trial_object(number, "Succeeded", "TrialEnded", model=model, metrics=metrics, **more)


def failed(number: int) -> Object:
    return trial_object(number, "Failed", "ScriptRaised", message="ValueError: x")


def a_trial(status: Object) -> TrainingJob:
    """A trial as its own passes see it, in this status."""
    made = render_trial(tuned(), 0, GIVEN)
    metadata = made["metadata"] | {"uid": UID, "name": "text", "creationTimestamp": stamp(NOW), "generation": 1}
    return TrainingJob.model_validate(made | {"metadata": metadata, "status": status})


def spent(number: int, value: str, decision: str = "Removed") -> Object:
    """What becomes of its model was decided."""
    made = ended(number, value)
    annotations = made["metadata"]["annotations"] | {"headrace.dev/trial-model": decision}
    return made | {"metadata": made["metadata"] | {"annotations": annotations}}


def silent(number: int) -> Object:
    """It has logged another metric."""
    made = ended(number, "0.7")
    return made | {"status": made["status"] | {"metrics": {"loss": "0.1"}}}


def trials(*objects: Object) -> tuple[Trial, ...]:
    return tuple(filter(None, (read_trial(tuned(), obj) for obj in objects)))


def begun(**spec: Any) -> Object:
    """The status once the pod of the tuning was begun."""
    status = look(tuned(**spec), NOTHING, START).status
    assert status is not None
    return status


def passed(
    *objects: Object,
    answer: Answer | None = None,
    status: Object | None = None,
    suspend: bool = False,
    now: datetime = NOW,
    told: str = "Training",
    kept_because: dict[str, str] | None = None,
    settings: Settings = SETTINGS,
    **spec: Any,
) -> Plan:
    """A look while the pod of the tuning runs."""
    live = read_live({"protocol": 1, "state": told})
    seen = Observed((batch_job(),), (pod(0),), None, live=live, trials=trials(*objects), answer=answer)
    seen = replace(seen, kept_because=kept_because or {})
    return look(tuned(status or begun(**spec), suspend=suspend, **spec), seen, START, now, settings)


def over(*objects: Object, status: Object | None = None, **spec: Any) -> Plan:
    """A look after the pod of the tuning has ended well."""
    done = pod(0, "Succeeded", exit_code=0, message=record("Succeeded", NOW, run={"id": "r1", "experimentId": "3"}))
    seen = Observed((batch_job(conditions=COMPLETE),), (done,), None, trials=trials(*objects))
    running = status or passed(*objects, **spec).status
    return look(tuned(running, **spec), seen, START)
