"""What somebody who waits for an example is told."""

from __future__ import annotations

import pytest

from headrace.gallery.progress import Outcome, address_of, of_job, of_service

TRAINING = {
    "state": "Running",
    "reason": "Training",
    "columns": {"progress": "50%", "eta": "6s", "metric": "val_accuracy=0.9", "try": "1/2"},
}
REGISTERED = {
    "state": "Succeeded",
    "reason": "GatePassed",
    "model": {
        "name": "demo.digits",
        "version": "3",
        "gate": {"passed": True, "checks": [{"metric": "val_accuracy", "value": "0.9820385575294495", "min": "0.95"}]},
    },
}
BELOW = {
    "state": "Succeeded",
    "reason": "GateFailed",
    "message": "train longer",
    "model": {"gate": {"passed": False, "checks": [{"metric": "val_accuracy", "value": "0.5", "min": "0.95"}]}},
}
FAILED = {"state": "Failed", "reason": "OutOfMemory", "failure": {"message": "killed", "hint": "Raise the limit."}}


@pytest.mark.parametrize(
    ("status", "outcome", "line"),
    [
        ({}, Outcome.UNDER_WAY, "Pending"),
        (TRAINING, Outcome.UNDER_WAY, "Running Training 50% val_accuracy=0.9 6s to go"),
        (REGISTERED, Outcome.DONE, "Succeeded val_accuracy=0.982 version 3 of demo.digits"),
        (BELOW, Outcome.FAILED, "no version: GateFailed val_accuracy=0.5 train longer"),
        (FAILED, Outcome.FAILED, "Failed OutOfMemory killed. Raise the limit."),
    ],
)
def test_a_training_job(status, outcome, line):
    seen = of_job({"metadata": {"name": "digits"}, "status": status})
    assert (seen.outcome, seen.line) == (outcome, line)


def service(phase, ready, *, observed=2):
    conditions = [{"type": "Ready", "status": ready, "message": "1 of 1 pods are ready"}]
    status = {"observedGeneration": observed, "phase": phase, "reason": "R", "conditions": conditions}
    return {"metadata": {"name": "digits", "generation": 2}, "status": status}


@pytest.mark.parametrize(
    ("found", "outcome", "line"),
    [
        ({"metadata": {"name": "digits", "generation": 1}}, Outcome.UNDER_WAY, "Pending"),
        (service("Stable", "True", observed=1), Outcome.UNDER_WAY, "Pending"),
        (service("Stable", "True"), Outcome.DONE, "Stable R 1 of 1 pods are ready"),
        (service("Pending", "False"), Outcome.UNDER_WAY, "Pending R 1 of 1 pods are ready"),
        (service("Failed", "False"), Outcome.FAILED, "Failed R 1 of 1 pods are ready"),
    ],
)
def test_a_model_service(found, outcome, line):
    seen = of_service(found)
    assert (seen.outcome, seen.line) == (outcome, line)


@pytest.mark.parametrize("protocol", ["v1", "v2"])
def test_clients_ask_at_the_url_up_to_its_protocol(protocol):
    found = {"metadata": {"name": "digits"}, "status": {"url": f"http://GATEWAY/demo/digits/{protocol}/models/digits"}}
    assert address_of(found) == "http://GATEWAY/demo/digits"
