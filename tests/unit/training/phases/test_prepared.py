"""The end of the stage Prepare: the dataset comes into status, and the training is next."""

import pytest

from headrace.api.trainingjob import FailureClass
from headrace.training.observed import Observed
from headrace.training.view import Problem, Start
from training_builders import HEX, MADE, NOW, PREPARE, batch_job, pod, record, training_job
from training_looks import look, under_way

COMPLETE = (("Complete", ""),)
START = Start(bucket="team-a")


def in_prepare(**more):
    """The status while the stage's attempt is under way."""
    status = under_way(stage="Prepare", **more)
    status["attempt"]["stage"] = "Prepare"
    return status


def ended(status=None, message=None, start=START, **fields):
    """A look at the stage whose pod has ended well."""
    said = message or record("Succeeded", NOW, **fields)
    job = training_job(status or in_prepare(), workers=2, prepare=PREPARE, tracking={"experiment": "x"})
    done = pod(0, "Succeeded", exit_code=0, message=said)
    return look(job, Observed((batch_job(conditions=COMPLETE),), (done,), None), start)


def test_the_dataset_comes_into_status_and_the_training_is_the_stage_under_way():
    planned = ended(dataset=MADE)

    status = planned.status
    assert status["dataset"] == MADE
    assert (status["state"], status["reason"], status["stage"]) == ("Pending", "Prepared", "Train")
    prepare, train = status["stages"]
    assert (prepare["name"], prepare["state"], prepare["attempts"]) == ("Prepare", "Succeeded", 1)
    assert "reused" not in prepare
    assert train == {"name": "Train", "state": "Pending", "attempts": 0}
    [entry] = status["history"]
    assert (entry["stage"], entry["outcome"], entry["reason"]) == ("Prepare", "Succeeded", "Prepared")
    assert [event.reason for event in planned.events] == ["Prepared"]
    assert len(planned.patches) == 1
    assert planned.requeue_after == 0.0


def test_what_was_warned_of_is_told_by_the_stage_and_its_event():
    planned = ended(
        dataset=MADE, message=record("Succeeded", NOW, dataset=MADE, message="privacy: notes: IBAN (2 rows)")
    )

    assert planned.status["stages"][0]["message"].endswith("; privacy: notes: IBAN (2 rows)")
    assert planned.events[0].message.endswith("; privacy: notes: IBAN (2 rows)")


def test_the_training_begins_from_nothing_that_the_preparation_told():
    before = in_prepare(
        attemptsCounted=2,
        metrics={"rows": "7"},
        progress={"percent": 100},
        checkpoint={"uri": "s3://x"},
        resume={"attempt": 1},
    )

    status = ended(before, dataset=MADE, metrics={"rows": 8}).status

    assert status["attemptsCounted"] == 0
    assert not {"metrics", "progress", "checkpoint", "resume", "workers", "failure"} & set(status)


def test_a_dataset_of_an_earlier_job_says_so():
    status = ended(dataset=MADE | {"reused": True, "madeBy": "team-a/earlier"}).status

    assert status["stages"][0]["reused"] is True
    assert "made before, by TrainingJob team-a/earlier" in status["stages"][0]["message"]
    assert (status["dataset"]["madeBy"], status["dataset"]["reused"]) == ("team-a/earlier", True)


def test_its_run_is_its_own_and_not_the_jobs():
    before = in_prepare(run={"id": "", "experiment": "team-a/x", "experimentID": "3"})

    status = ended(before, dataset=MADE, run={"id": "child", "experimentId": "3"}).status

    assert status["run"]["id"] == ""
    run = status["stages"][0]["run"]
    assert (run["id"], run["url"]) == ("child", "http://localhost:5000/#/experiments/3/runs/child")


@pytest.mark.parametrize(
    "uri",
    [
        MADE["uri"].rstrip("/"),
        f"s3://another-tenant/headrace/datasets/corpus/{HEX}/",
        f"https://elsewhere/headrace/datasets/corpus/{HEX}/",
        f"\nheadrace: /headrace/datasets/corpus/{HEX}/",
    ],
    ids=["no slash", "another bucket", "no bucket", "no place"],
)
def test_where_the_dataset_lies_is_not_the_records_to_say(uri):
    planned = ended(dataset=MADE | {"uri": uri})

    assert planned.status["dataset"]["uri"] == MADE["uri"]
    assert uri not in planned.status["message"]


def test_a_tenant_that_is_gone_by_then_is_waited_for():
    problem = Problem(FailureClass.CONFIG, "TenantNotFound", "namespace 'team-a' is not a tenant")

    planned = ended(dataset=MADE, start=Start(problem=problem))

    assert (planned.status["reason"], planned.status["stage"]) == ("TenantNotFound", "Prepare")
    assert "dataset" not in planned.status
    assert planned.patches == ()
    assert planned.requeue_after
    assert ended(planned.status, dataset=MADE).status["dataset"] == MADE


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"dataset": MADE | {"name": "other"}},
        {"dataset": MADE | {"digest": "md5:1"}},
    ],
    ids=["none", "another name", "no digest"],
)
def test_a_success_without_the_dataset_that_was_asked_for_is_a_failure(fields):
    status = ended(**fields).status

    assert status["state"] == "Failed"
    assert (status["failure"]["class"], status["failure"]["reason"]) == ("Config", "NoDataset")
    assert status["failure"]["message"].startswith("prepare: ")
    assert status["stages"][0]["state"] == "Failed"
    assert "dataset" not in status
