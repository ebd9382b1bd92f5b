"""A TrainingJob with a schedule: its CronJob, when a training begins and ends, what its status says."""

from __future__ import annotations

import asyncio
import re
from copy import deepcopy
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, cast

import pytest

from headrace.api.schedule import CRON_PATTERN
from headrace.api.trainingjob import FailureClass, TrainingJob
from headrace.kube.client import KubeClient
from headrace.kube.errors import Invalid, Refused
from headrace.kube.plan import Plan
from headrace.kube.resources import CRONJOBS, EVENTS, Resource
from headrace.training.schedule.objects import differs, render_cron_job, render_training
from headrace.training.schedule.observed import (
    MANAGER,
    CronJob,
    Observed,
    Refusal,
    Run,
    is_run,
    read_complaint,
    read_cron_job,
    read_run,
    read_training,
)
from headrace.training.schedule.plan import plan, to_begin
from headrace.training.schedule.problems import of_refusal
from headrace.training.schedule.reconcile import ScheduleReconciler
from headrace.training.states import Reason
from headrace.training.view import Problem
from training_builders import NOW, SETTINGS, stamp, training_job
from words import unclear

SCHEDULE: dict[str, Any] = {"cron": "0 3 * * *", "timeZone": "Europe/Berlin"}
EARLIER = NOW - timedelta(hours=2)


def scheduled(status: dict[str, Any] | None = None, **schedule: Any) -> TrainingJob:
    return training_job(status, workers=1, schedule=SCHEDULE | schedule)


def job_object(name: str = "text-29745123", **status: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "name": name,
            "uid": f"uid-of-{name}",
            "resourceVersion": "7",
            "creationTimestamp": stamp(NOW - timedelta(seconds=30)),
            "ownerReferences": [{"kind": "CronJob", "uid": "cron-job", "controller": True}],
        },
        "spec": {"managedBy": MANAGER},
        "status": status,
    }


def run(training: dict[str, Any] | None = None, name: str = "text-29745123", **status: Any) -> Run:
    """A Job of the schedule; `training` is the status of its TrainingJob."""
    found = read_run(job_object(name, **status))
    if training is None:
        return found
    made = {"metadata": {"name": name, "namespace": "team-a"}, "spec": {"entrypoint": "x", "source": {}}}
    return replace(found, training=read_training(made | {"status": training}))


def ended(state: str = "Succeeded", reason: str = "GatePassed", at: datetime = NOW) -> dict[str, Any]:
    columns = {"metric": "val_loss=0.5", "model": "text/7"}
    told = {"message": f"it has {state}", "completionTime": stamp(at), "columns": columns}
    return {"state": state, "reason": reason} | told


def cron_job(job: TrainingJob) -> CronJob:
    assert job.spec.schedule is not None
    wanted = render_cron_job(job, job.spec.schedule, SETTINGS)
    status = {"lastScheduleTime": stamp(EARLIER), "lastSuccessfulTime": stamp(EARLIER)}
    return read_cron_job(wanted | {"metadata": {"uid": "cron-job"}, "status": status})


def look(job: TrainingJob, *runs: Run, problem: Problem | None = None, now: datetime = NOW) -> Plan:
    assert job.spec.schedule is not None
    return plan(job, job.spec.schedule, Observed(cron_job(job), runs), problem, now)


QUOTA = 'Error creating job: jobs.batch "text-29745123" is forbidden: exceeded quota'


def refused_job(at: datetime, *runs: Run) -> Plan:
    """The CronJob controller has told of a Job that it could not make."""
    job, event = scheduled(), {"message": QUOTA, "lastTimestamp": stamp(at)}
    assert job.spec.schedule is not None
    observed = Observed(cron_job(job), runs, read_complaint(event, runs))
    return plan(job, job.spec.schedule, observed, None, NOW)


def begin(job: TrainingJob, *runs: Run, now: datetime = NOW) -> tuple[Run, ...]:
    assert job.spec.schedule is not None
    return to_begin(Observed(cron_job(job), runs), job.spec.schedule, now)


def written(planned: Plan) -> dict[str, Any]:
    """What is written on the Jobs."""
    assert all(patch.patch["metadata"]["resourceVersion"] == "7" for patch in planned.patches)
    return {patch.name: patch.patch["status"] for patch in planned.patches}


UNDER_WAY = {"state": "Running", "reason": "Training", "message": "epoch 3 of 10"}
STARTED = {"startTime": stamp(EARLIER)}
REFUSED = replace(run(), refusal=Refusal("quota: no room for TrainingJobs", for_good=False))


# --- the CronJob -----------------------------------------------------------------------------------------------------


def test_the_cron_job_says_what_the_schedule_says() -> None:
    job = scheduled(
        concurrencyPolicy="Replace",
        startingDeadlineSeconds=600,
        successfulJobsHistoryLimit=5,
        failedJobsHistoryLimit=0,
        suspend=True,
    )
    spec = cron_job(job).spec
    asked = {name: spec[name] for name in spec if name != "jobTemplate"}
    assert asked == {
        "schedule": "0 3 * * *",
        "timeZone": "Europe/Berlin",
        "concurrencyPolicy": "Replace",
        "startingDeadlineSeconds": 600,
        "successfulJobsHistoryLimit": 5,
        "failedJobsHistoryLimit": 0,
        "suspend": True,
    }
    assert spec["jobTemplate"]["spec"]["managedBy"] == MANAGER


def test_a_pod_that_runs_against_all_expectation_fails_and_says_why() -> None:
    (container,) = cron_job(scheduled()).spec["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert container["command"][:2] == ["python3", "-c"]
    with pytest.raises(SystemExit, match=r"spec\.managedBy"):
        exec(container["command"][2])


CHANGES: dict[str, dict[str, Any]] = {
    "another time": {"cron": "0 4 * * *"},
    "another zone": {"timeZone": "Etc/UTC"},
    "suspended": {"suspend": True},
    "a deadline": {"startingDeadlineSeconds": 60},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("back", [False, True], ids=["changed", "changed back"])
def test_a_change_of_the_schedule_is_a_change_of_the_cron_job(change: dict[str, Any], back: bool) -> None:
    before, after = (scheduled(**change), scheduled()) if back else (scheduled(), scheduled(**change))
    assert after.spec.schedule is not None
    assert differs(cron_job(before), render_cron_job(after, after.spec.schedule, SETTINGS))


def test_what_the_api_server_adds_to_a_cron_job_is_no_change() -> None:
    job, found = scheduled(), cron_job(scheduled())
    template = found.spec["jobTemplate"]
    completed = template | {"spec": template["spec"] | {"completionMode": "NonIndexed"}}
    live = replace(found, spec={**found.spec, "jobTemplate": completed})
    assert job.spec.schedule is not None
    assert not differs(live, render_cron_job(job, job.spec.schedule, SETTINGS))


class OldCluster:
    """An API server that does not know `managedBy`."""

    def __init__(self) -> None:
        self.cron_job: dict[str, Any] | None = None
        self.status: dict[str, Any] = {}

    async def get(self, resource: Resource, namespace: str | None, name: str) -> dict[str, Any] | None:
        return self.cron_job if resource == CRONJOBS else None

    async def list(self, *_: Any, **__: Any) -> list[dict[str, Any]]:
        return []

    async def apply(self, resource: Resource, obj: dict[str, Any], **_: Any) -> None:
        self.cron_job = deepcopy(obj)
        self.cron_job["metadata"]["uid"] = "cron-job"
        del self.cron_job["spec"]["jobTemplate"]["spec"]["managedBy"]

    async def patch_status(self, resource: Resource, obj: dict[str, Any], status: dict[str, Any]) -> dict[str, Any]:
        self.status = status
        return obj

    async def create(self, resource: Resource, obj: dict[str, Any]) -> dict[str, Any]:
        assert resource == EVENTS, "it makes no training"
        return obj


def test_a_cluster_that_would_run_the_jobs_itself_has_the_cron_job_suspended_and_is_told_of() -> None:
    cluster, job = OldCluster(), scheduled()
    operator = ScheduleReconciler(cast("KubeClient", cluster), SETTINGS, lambda: NOW)
    live = {"metadata": {"name": "text", "namespace": "team-a", "uid": job.metadata.uid}, "spec": {}}
    for _ in range(2):
        assert job.spec.schedule is not None
        again = asyncio.run(operator.reconcile(job, job.spec.schedule, live))

    assert cluster.cron_job is not None
    assert cluster.cron_job["spec"]["suspend"] is True
    assert (cluster.status["state"], cluster.status["reason"]) == ("Pending", Reason.MANAGED_BY_MISSING)
    assert "JobManagedBy" in cluster.status["message"]
    assert again == 60.0


# --- the trainings ---------------------------------------------------------------------------------------------------


def test_a_training_is_what_the_template_asks_for_and_goes_with_its_job() -> None:
    spec = {"entrypoint": "train.py", "suspend": False, "schedule": SCHEDULE, "podTemplate": {"spec": {"x": [1]}}}
    labels = {"kueue.x-k8s.io/queue-name": "night", "argocd.argoproj.io/instance": "ml"}
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": "{}", "headrace.dev/approval": "Approved"}
    metadata = {"name": "text", "namespace": "team-a", "labels": labels, "annotations": annotations}

    made = render_training({"metadata": metadata, "spec": spec}, run())

    assert made["spec"] == {"entrypoint": "train.py", "podTemplate": {"spec": {"x": [1]}}}
    assert made["metadata"]["name"] == "text-29745123"
    (owner,) = made["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("Job", "uid-of-text-29745123", True)
    assert made["metadata"]["labels"] == {
        "app.kubernetes.io/managed-by": "headrace",
        "headrace.dev/schedule": "text",
        "kueue.x-k8s.io/queue-name": "night",
    }
    assert "annotations" not in made["metadata"]


OVER = [{"type": "Complete", "status": "True"}]
WITHOUT_TRAINING: dict[str, tuple[dict[str, Any], Run, bool]] = {
    "new": ({}, run(), True),
    "new, while the schedule is suspended": ({"suspend": True}, run(), True),
    "in time": ({"startingDeadlineSeconds": 60}, run(), True),
    "late": ({"startingDeadlineSeconds": 10}, run(), False),
    "has a training": ({}, run(UNDER_WAY), False),
    "has had a training": ({}, run(**STARTED), False),
    "over": ({}, run(conditions=OVER), False),
    "being deleted": ({}, replace(run(), job=replace(run().job, deleting=True)), False),
    "held back by a queue": ({}, replace(run(), job=replace(run().job, suspended=True)), False),
}


@pytest.mark.parametrize(("schedule", "found", "begins"), WITHOUT_TRAINING.values(), ids=WITHOUT_TRAINING)
def test_which_job_gets_a_training(schedule: dict[str, Any], found: Run, begins: bool) -> None:
    assert begin(scheduled(**schedule), found) == ((found,) if begins else ())


def test_only_jobs_of_the_cron_job_that_nobody_else_carries_out_are_trainings() -> None:
    found = cron_job(scheduled())
    assert is_run(job_object(), found)
    assert not is_run(job_object() | {"spec": {}}, found)
    assert not is_run(job_object(), replace(found, uid="another"))


def test_a_job_is_told_that_its_training_has_begun_once() -> None:
    assert written(look(scheduled(), run(UNDER_WAY))) == {"text-29745123": {"startTime": stamp(NOW)}}
    assert written(look(scheduled(), run(UNDER_WAY, **STARTED))) == {}


@pytest.mark.parametrize(
    ("state", "kinds"), [("Succeeded", "SuccessCriteriaMet Complete"), ("Failed", "FailureTarget Failed")]
)
def test_a_job_ends_as_its_training_did(state: str, kinds: str) -> None:
    suspended = {"type": "Suspended", "status": "False"}
    planned = look(scheduled(), run(ended(state, "Why"), **STARTED, conditions=[suspended]))

    (status,) = written(planned).values()
    assert status["conditions"][0] == suspended
    told = [(one["type"], one["status"], one["reason"], one["message"]) for one in status["conditions"][1:]]
    assert told == [(kind, "True", "Why", f"it has {state}") for kind in kinds.split()]
    assert status.get("completionTime") == (stamp(NOW) if state == "Succeeded" else None)
    assert [event.reason for event in planned.events] == ["TrainingEnded"]
    assert planned.requeue_after is None


def test_a_job_does_not_end_before_it_started() -> None:
    """The clocks of two nodes."""
    later = NOW + timedelta(seconds=5)
    (status,) = written(look(scheduled(), run(ended(at=NOW), startTime=stamp(later)))).values()
    assert status["startTime"] == status["completionTime"] == stamp(later)


CUT_OFF: dict[str, tuple[dict[str, Any], Run, str]] = {
    "its training was deleted": ({}, run(**STARTED), Reason.TRAINING_DELETED),
    "it was refused": ({}, replace(run(), refusal=Refusal("name is too long", for_good=True)), Reason.REFUSED),
    "it is late": ({"startingDeadlineSeconds": 10}, run(), Reason.START_DEADLINE_EXCEEDED),
    "a quota was full until it was late": ({"startingDeadlineSeconds": 10}, REFUSED, Reason.START_DEADLINE_EXCEEDED),
}


@pytest.mark.parametrize(("schedule", "found", "reason"), CUT_OFF.values(), ids=CUT_OFF)
def test_a_job_without_a_training_fails_with_the_reason(schedule: dict[str, Any], found: Run, reason: str) -> None:
    planned = look(scheduled(**schedule), found)
    (status,) = written(planned).values()
    assert [one["reason"] for one in status["conditions"]] == [reason, reason]
    assert planned.status is not None
    last = planned.status["schedule"]["last"]
    assert (last["state"], last["reason"]) == ("Failed", reason)
    assert last["message"]


# --- the status ------------------------------------------------------------------------------------------------------

INVALID = Problem(FailureClass.CONFIG, Reason.SCHEDULE_INVALID, "the API server does not take the schedule: 5-1")
HELD = replace(run(), job=replace(run().job, suspended=True))
KNOWN = {"schedule": {"last": {"name": "text-1", "state": "Failed", "reason": "OOM", "completionTime": stamp(EARLIER)}}}
STATES: dict[str, tuple[Plan, str, str]] = {
    "nothing trains": (look(scheduled()), "Scheduled", Reason.WAITING_FOR_SCHEDULE),
    "something trains": (look(scheduled(), run(UNDER_WAY)), "Scheduled", Reason.TRAINING_ON_SCHEDULE),
    "suspended": (look(scheduled(suspend=True)), "Suspended", Reason.SCHEDULE_SUSPENDED),
    "suspended, and one trains": (
        look(scheduled(suspend=True), run(UNDER_WAY)),
        "Suspended",
        Reason.SCHEDULE_SUSPENDED,
    ),
    "the CronJob finds no quota": (refused_job(NOW), "Scheduled", Reason.JOB_REFUSED),
    "the CronJob has found a quota since": (
        refused_job(EARLIER, run(ended(), conditions=[{"type": "Complete", "status": "True"}])),
        "Scheduled",
        Reason.WAITING_FOR_SCHEDULE,
    ),
    "somebody has suspended a Job": (look(scheduled(), HELD), "Scheduled", Reason.JOB_SUSPENDED),
    "somebody has suspended a Job, and another one trains": (
        look(scheduled(concurrencyPolicy="Allow"), HELD, run(UNDER_WAY, "text-2", **STARTED)),
        "Scheduled",
        Reason.JOB_SUSPENDED,
    ),
    "the schedule and a Job are suspended": (
        look(scheduled(suspend=True), HELD),
        "Suspended",
        Reason.SCHEDULE_SUSPENDED,
    ),
    "one has ended": (look(scheduled(), run(ended())), "Scheduled", Reason.WAITING_FOR_SCHEDULE),
    "a quota is full": (look(scheduled(), REFUSED), "Scheduled", Reason.REFUSED),
    "the CronJob is refused": (look(scheduled(), problem=INVALID), "Pending", Reason.SCHEDULE_INVALID),
}


@pytest.mark.parametrize(("planned", "state", "reason"), STATES.values(), ids=STATES)
def test_state_and_reason_and_a_text_that_a_person_understands(planned: Plan, state: str, reason: str) -> None:
    assert planned.status is not None
    assert (planned.status["state"], planned.status["reason"]) == (state, reason)
    assert unclear(planned) == []


def test_a_job_that_is_suspended_is_none_that_trains_and_says_what_to_do() -> None:
    planned = look(scheduled(), HELD)
    assert planned.status is not None
    assert planned.status["columns"]["progress"] == "-"
    [active] = planned.status["schedule"]["active"]
    assert (active["name"], active["reason"]) == (HELD.job.name, "JobSuspended")
    assert "set its spec.suspend to false" in planned.status["message"]
    progressing = next(one for one in planned.status["conditions"] if one["type"] == "Progressing")
    assert progressing["status"] == "False"
    assert planned.requeue_after is not None  # nobody tells of the change


def test_the_last_training_is_kept_when_its_job_is_deleted() -> None:
    planned = look(scheduled(KNOWN), run(UNDER_WAY, "text-2", **STARTED))
    assert planned.status is not None
    assert planned.status["schedule"]["last"]["name"] == "text-1"
    assert [one["name"] for one in planned.status["schedule"]["active"]] == ["text-2"]
    assert planned.status["columns"]["progress"] == "1 training"


def test_the_training_that_ended_last_is_the_last_one_and_its_model_is_shown() -> None:
    older = run(ended("Failed", "OutOfMemory", EARLIER), "text-3", **STARTED)
    planned = look(scheduled(KNOWN), older, run(ended(), "text-2", **STARTED))
    assert planned.status is not None
    assert planned.status["schedule"]["last"]["name"] == "text-2"
    assert planned.status["columns"]["model"] == "text/7"
    holds = {one["type"]: one["status"] for one in planned.status["conditions"]}
    assert holds == {"Scheduled": "True", "Progressing": "False", "Suspended": "False", "LastTrainingSucceeded": "True"}


def test_what_a_person_decides_after_the_end_is_told_too() -> None:
    waiting = {"schedule": {"last": {"name": "text-1", "state": "Succeeded", "reason": "AwaitingApproval"}}}
    approved = run(ended(reason="Approved"), "text-1", **STARTED, conditions=OVER)
    planned = look(scheduled(waiting), approved)
    assert planned.status is not None
    assert planned.status["schedule"]["last"]["reason"] == "Approved"
    assert planned.patches == ()


def test_a_problem_is_an_event_once() -> None:
    first = look(scheduled(), problem=INVALID)
    assert [event.reason for event in first.events] == [Reason.SCHEDULE_INVALID]
    assert look(scheduled(first.status), problem=INVALID).events == ()


def test_a_status_stays_the_same_while_nothing_changes() -> None:
    first = look(scheduled(), run(UNDER_WAY, **STARTED))
    again = look(
        scheduled(first.status), run(UNDER_WAY | {"message": "epoch 4"}, **STARTED), now=NOW + timedelta(hours=1)
    )
    assert again.status == first.status
    assert again.requeue_after == first.requeue_after == 10.0


# --- the expression --------------------------------------------------------------------------------------------------

GOOD = (
    "0 3 * * 1-5",
    "@daily",
    "*/5 * * * *",
    "0 0 1 JAN *",
    "5,10-20/2 0-23/2 ? * mon,wed",
    "59 23 31 12 6",
    "05 03 01 01 0",
)
BAD = (
    "60 * * * *",
    "* * * *",
    "0 0 0 * *",
    "0 0 * * 7",
    "TZ=UTC 0 0 * * *",
    "@every 1h",
    "0 24 * * *",
    "*/0 * * * *",
    "",
    "x",
)


@pytest.mark.parametrize(("cron", "fits"), [*((cron, True) for cron in GOOD), *((cron, False) for cron in BAD)])
def test_what_is_an_expression(cron: str, fits: bool) -> None:
    assert bool(re.search(CRON_PATTERN, cron)) is fits


@pytest.mark.parametrize(("suspended", "said"), [(True, "* * * * *, and it is suspended"), (False, "* * * * *")])
def test_a_refused_schedule_says_what_is_in_force(suspended, said):
    there = CronJob("u", {"schedule": "* * * * *", "suspend": suspended}, None, None)
    assert of_refusal(Refused(Invalid("5-1")), there).message.endswith(
        f"the schedule is still {said}" + (": nothing is trained" if suspended else "")
    )
