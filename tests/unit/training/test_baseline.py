"""Which version the stage Evaluate compares with, and when that is looked up."""

import pytest

from headrace.tracking.records import ModelVersion
from headrace.training.baseline import BaselineUnusable, alias_to_resolve, version_of
from training_builders import BASELINE, EVALUATE, JUDGED, training_job
from training_looks import under_way


def version(source=BASELINE["uri"], digest=BASELINE["digest"]):
    return ModelVersion("team-a.text", "6", source, tags={"headrace.digest": digest} if digest else {})


def test_the_version_that_the_alias_points_at_is_pinned_with_its_bytes():
    found = version_of("champion", version())

    assert found is not None
    assert found.model_dump(by_alias=True) == BASELINE


def test_an_alias_that_points_nowhere_is_no_failure():
    assert version_of("champion", None) is None


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (version(digest=""), "which has no digest"),
        (version(source="models:/other/1"), "which does not lie in S3"),
    ],
    ids=["no digest", "elsewhere"],
)
def test_a_version_that_no_training_job_has_registered_is_refused(found, words):
    with pytest.raises(BaselineUnusable, match=f"champion of model team-a.text points at version 6, {words}") as caught:
        version_of("champion", found)
    assert caught.value.reason == "BaselineUnreadable"


def staged(stage, of_attempt):
    status = under_way(stage=stage)
    status["attempt"]["stage"] = of_attempt
    return status


@pytest.mark.parametrize(
    ("status", "spec", "alias"),
    [
        ({}, JUDGED, ""),
        (staged("Train", "Train"), JUDGED, ""),
        (staged("Evaluate", "Train"), JUDGED, "champion"),
        (staged("Evaluate", "Evaluate"), JUDGED, ""),
        (staged("Evaluate", "Train"), JUDGED | {"evaluate": {**EVALUATE, "baseline": None}}, ""),
        (under_way(), {}, ""),
    ],
    ids=["before all", "in the training", "before its first attempt", "later", "none is asked for", "no such stage"],
)
def test_it_is_looked_up_once(status, spec, alias):
    assert alias_to_resolve(training_job(status, **spec)) == alias
