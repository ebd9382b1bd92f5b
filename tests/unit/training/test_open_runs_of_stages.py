"""The runs of a job that failed for good are ended: also the job's own, when no launcher has told of it yet."""

import asyncio
from dataclasses import dataclass, field

import pytest

from headrace.api.trainingjob import Attempt
from headrace.tracking.records import Run
from headrace.training.finish import end_run, is_run_open
from training_builders import JUDGED, NOW, PREPARE, UID, stamp, training_job

FAILURE = {"class": "Config", "reason": "NoDataset"}


@dataclass
class Registry:
    """MLflow with these runs, by their tag headrace.uid; `failed` are those that were ended, with their outcome."""

    runs: dict[str, Run]
    failed: dict[str, str] = field(default_factory=dict)

    async def find_run(self, experiment_id, uid):
        assert experiment_id == "3"
        return self.runs.get(uid)

    async def fail_run(self, run_id, ended, tags):
        assert ended == NOW
        self.failed[run_id] = tags["headrace.outcome"]


def run(name, status="RUNNING"):
    return Run(name, "3", status, "s3://x", metrics={}, tags={})


def failed(stage, run_id="", **spec):
    status = {
        "state": "Failed",
        "completionTime": stamp(NOW),
        "failure": FAILURE,
        "run": {"id": run_id, "experimentID": "3"},
    }
    return training_job(status | ({"stage": stage} if stage else {}), **spec)


def end(job, registry):
    return asyncio.run(end_run(job, registry)).run


def test_a_preparation_that_failed_ends_its_run_and_the_jobs():
    registry = Registry({UID: run("job"), f"{UID}/prepare": run("child")})
    job = failed("Prepare", prepare=PREPARE)
    assert is_run_open(job.status)

    ended = end(job, registry)

    outcome = "failed: Config/NoDataset"
    assert registry.failed == {"job": outcome, "child": outcome}
    assert (ended.id, ended.ended) == ("job", True)
    assert not is_run_open(job.status.evolve(run=ended))


def test_a_run_that_the_launcher_has_ended_is_left_as_it_is():
    registry = Registry({UID: run("job"), f"{UID}/prepare": run("child", "FAILED")})

    end(failed("Prepare", prepare=PREPARE), registry)

    assert set(registry.failed) == {"job"}


def test_a_preparation_that_never_ran_has_no_runs_to_end():
    registry = Registry({})

    ended = end(failed("Prepare", prepare=PREPARE), registry)

    assert (registry.failed, ended.ended) == ({}, True)


def test_a_training_that_never_ran_ends_the_run_that_the_preparation_made():
    registry = Registry({UID: run("job"), f"{UID}/prepare": run("child", "FINISHED")})
    job = failed("Train", prepare=PREPARE)
    assert is_run_open(job.status)

    assert end(job, registry).id == "job"
    assert set(registry.failed) == {"job"}


@pytest.mark.parametrize(
    ("child", "ended"),
    [("RUNNING", {"job", "child"}), ("FAILED", {"job"}), (None, {"job"})],
    ids=["it runs", "it has failed", "there is none"],
)
def test_an_evaluation_that_failed_ends_its_run_and_the_jobs(child, ended):
    registry = Registry({UID: run("job", "FINISHED")} | ({f"{UID}/evaluate": run("child", child)} if child else {}))

    end(failed("Evaluate", "job", **JUDGED), registry)

    assert set(registry.failed) == ended


@pytest.mark.parametrize(("run_id", "is_open"), [("job", True), ("", False)])
def test_a_job_without_stages_ends_the_run_that_was_told(run_id, is_open):
    job = failed(None, run_id)
    assert is_run_open(job.status) is is_open
    if is_open:
        registry = Registry({})
        assert end(job, registry).ended is True
        assert set(registry.failed) == {"job"}


def test_a_job_that_was_cut_off_before_its_run_was_told_ends_it():
    job = failed(None)
    attempt = Attempt(number=1, job="text-1")
    registry = Registry({UID: run("job")})

    ended = end(job.with_status(job.status.evolve(attempt=attempt)), registry)

    assert is_run_open(job.status.evolve(attempt=attempt))
    assert (set(registry.failed), ended.id, ended.ended) == ({"job"}, "job", True)
