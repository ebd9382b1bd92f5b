"""The tag of a run that says how a resume went."""

from __future__ import annotations

import pytest

from headrace_trainer.launcher.messages import Resume
from headrace_trainer.launcher.tracking.resumed import sentence

PLACE = "from step 20 of fit 2 of attempt 3."


@pytest.mark.parametrize(
    ("exact", "message", "told"),
    [
        (None, "", f"not compared yet: {PLACE}"),
        (True, "2 replayed steps equal", f"exact: {PLACE} 2 replayed steps equal"),
        (False, "not exact: the loop\nbegins anew", f"not exact: {PLACE} the loop begins anew"),
        (False, "data began anew", f"not exact: {PLACE} data began anew"),
    ],
)
def test_fits_count_from_1_and_what_is_known_is_said_once(exact, message, told):
    assert sentence(3, Resume(1, 0, 20, exact, message)) == told


@pytest.mark.parametrize(
    ("message", "why"),
    [("", "there was nothing to compare"), ("one step alone says nothing", "one step alone says nothing")],
)
def test_an_attempt_that_has_ended_will_not_compare_any_more(message, why):
    assert sentence(3, Resume(1, 0, 20, None, message), has_ended=True) == f"not compared: {PLACE} {why}"


def test_the_tag_of_an_attempt_that_has_ended_says_that_nothing_was_compared(launch, mlflow, s3):
    bucket = s3.bucket()
    config = {
        "storage": {"endpoint": s3.endpoint, "region": "us-east-1"},
        "tracking": mlflow.experiment("resumed", f"s3://{bucket}/mlflow"),
        "checkpoint": {"uri": f"s3://{bucket}/checkpoints", "intervalSeconds": 1, "keep": 3},
    }
    script = """
from standin_adapter import *
if os.environ.get("HEADRACE_RESUME_DIR"):
    say("resume", fit=0, epoch=0, step=3, exact=None, message="")
    train(5)
    say("warning", subject="words", message="a word\\n\\x1b[31mand another one")
else:
    train(3)
    checkpoint(3)
    os._exit(1)
"""
    first = launch(script, config=config)
    assert first.wait() == 1, first.log
    second = launch(script, config=config, attempt=2)
    assert second.wait() == 0, second.log
    [run] = mlflow.runs(config["tracking"]["experimentId"])
    tags = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
    assert tags["headrace.resume.2"] == "not compared: from step 3 of fit 1 of attempt 1. there was nothing to compare"
    assert tags["headrace.warning.words"] == "a word and another one"
