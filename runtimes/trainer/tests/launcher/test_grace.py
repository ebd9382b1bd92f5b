"""The grace period divides: the script's part of it, and the upload's, which is told when it does not suffice."""

UPLOADS = """
import os, time
from standin_adapter import *
print("to stop:", os.environ["HEADRACE_STOP_SECONDS"])
say("fit", fit=0, epochs=1, stepsPerEpoch=2)
for step in (1, 2):
    folder = checkpoint(step)
    while os.path.exists(folder):
        time.sleep(0.02)
say("trained", kind="fit", steps=2)
"""


def checkpointing(s3):
    return {
        "storage": {"endpoint": s3.endpoint, "region": "us-east-1"},
        "checkpoint": {"uri": f"s3://{s3.bucket()}/jobs/uid"},
    }


def test_a_grace_period_that_a_checkpoint_does_not_fit_in_is_told_once(launch, s3):
    launched = launch(UPLOADS, config=checkpointing(s3), env={"HEADRACE_GRACE_SECONDS": "2.5"})
    assert launched.wait() == 0, launched.log
    assert "to stop: 1.5" in launched.log
    assert launched.log.count("Raise spec.checkpoint.gracePeriod") == 1


def test_one_that_it_fits_in_is_not_told(launch, s3):
    launched = launch(UPLOADS, config=checkpointing(s3), env={"HEADRACE_GRACE_SECONDS": "600"})
    assert launched.wait() == 0, launched.log
    assert "to stop: 360.0" in launched.log
    assert "gracePeriod" not in launched.log
