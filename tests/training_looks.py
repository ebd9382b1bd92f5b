"""Looks at a TrainingJob: a status, what is observed with it, and what is planned."""

from datetime import datetime, timedelta
from typing import Any

from headrace.api.trainingjob import TrainingJob
from headrace.kube.plan import Plan
from headrace.kube.resources import Object, Resource
from headrace.settings import Settings
from headrace.training.observed import Observed, Pod, Source
from headrace.training.plan import plan
from headrace.training.view import Start
from training_builders import (
    NOW,
    SETTINGS,
    batch_job,
    container,
    ended,
    pod,
    record,
    stamp,
    training_job,
)

SOURCE = Source({"train.py": "print()"}, "5")
NOTHING = Observed(jobs=(), pods=(), source=SOURCE)
FAILED = (("Failed", "BackoffLimitExceeded"),)
SECOND = timedelta(seconds=1)
RAISED = {"class": "UserCode", "reason": "ScriptRaised", "message": "ValueError: x", "exitCode": 1}


def under_way(number: int = 1, **more: Any) -> dict[str, Any]:
    """The status while this attempt is under way."""
    attempt = {
        "number": number,
        "job": f"text-{number}",
        "jobUID": f"uid-of-text-{number}",
        "image": "i",
        "startedAt": stamp(NOW),
    }
    return {"state": "Running", "attempt": attempt, "startTime": stamp(NOW)} | more


def look(
    job: TrainingJob,
    observed: Observed,
    start: Start | None = None,
    now: datetime = NOW,
    settings: Settings = SETTINGS,
) -> Plan:
    return plan(job, observed, start or Start(), now, settings)


def kinds(planned: Plan) -> list[Resource]:
    return [resource for resource, _ in planned.creates]


def created(planned: Plan, resource: Resource) -> Object:
    return next(obj for kind, obj in planned.creates if kind == resource)


def begun(**more: Any) -> dict[str, Any]:
    """The attempt is in status and its Job was not made."""
    attempt = {"number": 1, "job": "text-1", "image": "i", "startedAt": stamp(NOW)}
    return {"state": "Pending", "attempt": attempt, "startTime": stamp(NOW)} | more


def failed_pods() -> tuple[Pod, ...]:
    """The script raised in the chief, and the other worker was interrupted for it."""
    return (
        pod(0, "Failed", exit_code=1, message=record("Failed", NOW, **RAISED)),
        pod(1, "Failed", exit_code=6, message=record("Interrupted", NOW + timedelta(seconds=1))),
    )


def between_attempts() -> Object:
    """Attempt 1 took 40 s and failed; the next may begin 5 s later."""
    first = under_way()
    first["attempt"]["activeSince"] = stamp(NOW - 40 * SECOND)
    planned = look(training_job(first), Observed((batch_job(conditions=FAILED),), failed_pods(), None))
    assert planned.status is not None
    return planned.status


def held_up(outcome: str = "Succeeded", exit_code: int = 0, **more: Any) -> Pod:
    """Its trainer ended at NOW, its side container runs on."""
    said = record(outcome, NOW, **more)
    return pod(0, "Running", exit_code=exit_code, message=said, sides=(container("logs"),))


STOPPED = {"sides": (container("logs", ended(143, NOW + 75 * SECOND)),), "deleted_at": NOW + 95 * SECOND}
WITH_OUTPUT = {"output": {"model": "text"}, "tracking": {"experiment": "x"}}
CANNOT = {"protocol": 1, "state": "Training", "exportTrial": {"failed": ["ONNX"], "message": "ONNX cannot be made: x"}}
