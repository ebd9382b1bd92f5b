"""A job that is over."""

from datetime import timedelta

import pytest

from headrace.kube.resources import TRAININGJOBS
from headrace.training.observed import Observed
from training_builders import (
    NOW,
    UID,
    stamp,
    training_job,
)
from training_looks import look


def test_a_finished_job_is_deleted_when_its_time_to_live_is_over():
    status = {"state": "Succeeded", "completionTime": stamp(NOW)}
    job = training_job(status, ttlSecondsAfterFinished=60)

    waits = look(job, Observed((), (), None), now=NOW + timedelta(seconds=20))
    goes = look(job, Observed((), (), None), now=NOW + timedelta(seconds=60))

    assert waits.deletes == ()
    assert waits.requeue_after == pytest.approx(40)
    assert [(d.resource, d.uid) for d in goes.deletes] == [(TRAININGJOBS, UID)]
