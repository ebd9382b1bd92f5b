"""What is found out before an attempt may begin: the tenant's bucket, the experiment, and whether the run that the
launcher will write is one that somebody has deleted.
"""

import asyncio
from dataclasses import dataclass, field

import pytest

from headrace.tracking.errors import NotFound, TrackingError, TrackingUnavailable
from headrace.tracking.ledger import Ledger
from headrace.tracking.records import Experiment, ModelVersion, Run
from headrace.training.observed import Observed
from headrace.training.reconcile import TrainingReconciler
from training_builders import BASELINE, JUDGED, NOW, PREPARE, SETTINGS, UID, pod, record, stamp, training_job
from training_looks import NOTHING, under_way

TRACKED = {"prepare": PREPARE, "tracking": {"experiment": "x"}}
TENANT = {"bucket": "team-a"}


class Cluster:
    """A namespace with this ConfigMap of its tenant, or none."""

    def __init__(self, tenant):
        self.tenant = tenant

    async def get(self, resource, namespace, name):
        return None if self.tenant is None else {"metadata": {"name": name}, "data": self.tenant}


@dataclass
class Mlflow:
    """Its runs by their tag headrace.uid, those in its trash among them."""

    runs: dict[str, list[Run]] = field(default_factory=dict)
    champion: ModelVersion | TrackingError = field(default_factory=lambda: NotFound("no such alias"))
    versions: int = 0

    async def get_experiment_by_name(self, name):
        return Experiment("3", name, "s3://team-a/mlflow/x")

    async def search_all_runs(self, experiment_id, tag, value):
        assert (experiment_id, tag) == ("3", "headrace.uid")
        return self.runs.get(value, [])

    async def get_run(self, run_id):
        return next(run for runs in self.runs.values() for run in runs if run.id == run_id)

    async def get_model_version_by_alias(self, name, alias):
        assert (name, alias) == ("team-a.text", "champion")
        if isinstance(self.champion, TrackingError):
            raise self.champion
        return self.champion

    async def count_model_versions(self, name):
        assert name == "team-a.text"
        return self.versions


def run(name, deleted=False):
    return Run(name, "3", "RUNNING", "s3://x", deleted=deleted)


def start(job, tenant=TENANT, observed=NOTHING, runs=None):
    reconciler = TrainingReconciler(Cluster(tenant), None, SETTINGS, Ledger(Mlflow(runs or {})))
    return asyncio.run(reconciler._start(job, observed))


def between(stage, **more):
    """The status after an attempt of this stage."""
    status = under_way(stage=stage, run={"id": "", "experimentID": "3"}, **more)
    status["attempt"] |= {"stage": stage, "finishedAt": stamp(NOW)}
    return status


@pytest.mark.parametrize("stage", ["Prepare", "Train"])
def test_the_jobs_run_that_was_deleted_while_only_its_stage_was_known_is_waited_for(stage):
    child = {"id": "child", "experimentID": "3"}
    told = [{"name": "Prepare", "state": "Running", "run": child}]
    runs = {UID: [run("job", deleted=True)], f"{UID}/prepare": [run("child")]}

    found = start(training_job(between(stage, stages=told), **TRACKED), runs=runs)

    assert (found.problem.reason, found.problem.patient) == ("RunDeleted", True)
    assert "mlflow runs restore --run-id job" in found.problem.message


@pytest.mark.parametrize("left", [[], [run("job")], [run("old", deleted=True), run("job")]])
def test_a_run_that_the_launcher_can_write_is_no_problem(left):
    found = start(training_job(between("Train"), **TRACKED), runs={UID: left})

    assert (found.problem, found.experiment_id, found.bucket) == (None, "3", "team-a")


def test_a_job_without_stages_is_asked_for_by_the_run_that_was_told():
    job = training_job(tracking={"experiment": "x"})

    assert start(job, runs={UID: [run("job", deleted=True)]}).problem is None


@pytest.mark.parametrize(
    ("tenant", "said"),
    [
        (None, "namespace 'team-a' is not a tenant: it has no ConfigMap 'headrace-tenant'"),
        ({"mlflowUser": "u"}, "ConfigMap 'headrace-tenant' of namespace 'team-a' names no bucket"),
        ({"bucket": ""}, "ConfigMap 'headrace-tenant' of namespace 'team-a' names no bucket"),
    ],
    ids=["none", "no bucket", "an empty one"],
)
def test_what_a_preparation_misses_of_its_tenant_is_told(tenant, said):
    problem = start(training_job(prepare=PREPARE), tenant).problem

    assert (problem.reason, problem.message) == ("TenantNotFound", said)


def before_evaluating(champion, runs=None, versions=0):
    """What is found out before the first attempt of the stage."""
    status = between("Evaluate")
    status["attempt"]["stage"], status["run"]["id"] = "Train", "job"
    mlflow = Mlflow({UID: [run("job")]} | (runs or {}), champion, versions)
    reconciler = TrainingReconciler(Cluster(TENANT), None, SETTINGS, Ledger(mlflow))
    return asyncio.run(reconciler._start(training_job(status, **JUDGED), NOTHING))


def test_the_version_to_compare_with_is_the_one_that_the_alias_points_at():
    found = before_evaluating(
        ModelVersion("team-a.text", "6", BASELINE["uri"], tags={"headrace.digest": BASELINE["digest"]})
    )

    assert found.problem is None
    assert found.baseline is not None
    assert found.baseline.model_dump(by_alias=True) == BASELINE


@pytest.mark.parametrize("versions", [0, 5])
def test_a_model_without_that_alias_is_evaluated_without_and_its_versions_are_counted(versions):
    found = before_evaluating(NotFound("no such alias"), versions=versions)

    assert (found.baseline, found.problem, found.versions) == (None, None, versions)


@pytest.mark.parametrize(
    ("champion", "reason", "patient"),
    [
        (TrackingUnavailable("no answer"), "TrackingUnavailable", True),
        (ModelVersion("team-a.text", "6", BASELINE["uri"]), "BaselineUnreadable", False),
    ],
    ids=["MLflow is away", "a version without a digest"],
)
def test_a_version_that_cannot_be_found_out_is_waited_for(champion, reason, patient):
    problem = before_evaluating(champion).problem

    assert (problem.reason, problem.patient) == (reason, patient)


def test_the_jobs_own_run_that_was_deleted_is_waited_for_before_an_evaluation():
    problem = before_evaluating(NotFound("no such alias"), {UID: [run("job", deleted=True)]}).problem

    assert (problem.reason, problem.patient) == ("RunDeleted", True)


def ended_in(stage):
    status = under_way(stage=stage)
    status["attempt"]["stage"] = stage
    done = pod(0, "Succeeded", exit_code=0, message=record("Succeeded", NOW))
    return training_job(status, prepare=PREPARE), Observed((), (done,), None)


def test_the_bucket_of_what_was_prepared_is_known_at_the_end_of_its_attempt():
    job, observed = ended_in("Prepare")

    assert start(job, observed=observed).bucket == "team-a"
    assert start(job, None, observed).problem.reason == "TenantNotFound"


def test_the_end_of_a_training_asks_for_nothing():
    job, observed = ended_in("Train")

    assert start(job, None, observed).problem is None
