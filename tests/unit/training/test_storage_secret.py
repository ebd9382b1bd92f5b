"""The Secret of `spec.storage` is missing: which field names it, where it is missing, and what to do."""

from datetime import timedelta

import pytest

from headrace.training.observed import Observed
from headrace.training.plan import plan
from headrace.training.view import Start
from training_builders import (
    BASELINE,
    JUDGED,
    MODEL,
    NOW,
    PREPARE,
    REPORT,
    SETTINGS,
    batch_job,
    pod,
    stamp,
    training_job,
)

FIELD = "spec.storage.secretRef.name names it, and namespace team-a does not have it"
ATTEMPT = {"number": 1, "job": "text-1", "jobUID": "uid-of-text-1", "image": "i", "startedAt": stamp(NOW)}
UNDER_WAY = {"state": "Running", "attempt": ATTEMPT, "startTime": stamp(NOW)}
TO_JUDGE = {"name": "team-a.text", "uri": MODEL["uri"], "digest": REPORT["digest"]}
EVALUATING = UNDER_WAY | {
    "stage": "Evaluate",
    "model": TO_JUDGE,
    "evaluation": {"format": "ONNX", "baseline": BASELINE},
    "attempt": ATTEMPT | {"stage": "Evaluate"},
}
STAGES = {
    "train": (UNDER_WAY, {}),
    "prepare": (UNDER_WAY, {"prepare": PREPARE}),
    "evaluate": (EVALUATING, JUDGED),
}


def status_of(secret: str, message: str, status=UNDER_WAY, now=NOW, **spec):
    waits = pod(0, "Pending", waiting=("CreateContainerConfigError", message))
    job = training_job(status, workers=1, storage={"secretRef": {"name": secret}}, **spec)
    return plan(job, Observed((batch_job(),), (waits,), None), Start(), now, SETTINGS).status


@pytest.mark.parametrize("stage", STAGES)
def test_field_namespace_and_command_are_told_while_it_is_waited_for(stage):
    status, spec = STAGES[stage]

    told = status_of("headrace-storage", 'secret "headrace-storage" not found', status, **spec)

    assert told["reason"] == "ContainerConfig"
    assert told["message"].endswith(f"{FIELD}: run: headrace tenant add team-a")
    assert any(FIELD in condition["message"] for condition in told["conditions"])


@pytest.mark.parametrize("stage", STAGES)
def test_field_namespace_and_command_are_told_at_the_end(stage):
    status, spec = STAGES[stage]

    told = status_of(
        "headrace-storage",
        'secret "headrace-storage" not found',
        status,
        now=NOW + timedelta(seconds=2),
        startDeadlineSeconds=1,
        **spec,
    )

    assert (told["state"], told["reason"]) == ("Failed", "ContainerConfig")
    assert told["failure"]["hint"] == f"{FIELD}: run: headrace tenant add team-a"
    assert FIELD in told["message"]


def test_of_another_secret_it_says_which_one_there_would_be():
    told = status_of("no-such", 'secret "no-such" not found')

    assert "create it, or create a new TrainingJob that names headrace-storage" in told["message"]
    assert "`headrace tenant add team-a`" in told["message"]


@pytest.mark.parametrize(
    "message",
    [
        'secret "other" not found',
        'configmap "headrace-storage" not found',
        "couldn't find key K in Secret team-a/headrace-storage",
    ],
)
def test_what_else_is_missing_is_not_told_as_this_field(message):
    assert "spec.storage" not in status_of("headrace-storage", message)["message"]
