"""What a TrainingJob says in each state that a plan can give it: a text where one belongs, and no riddle."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

import tuning_looks as tuning
from headrace.api.common import FailureClass
from headrace.api.trainingjob import State
from headrace.kube.errors import Forbidden, Invalid, Refused
from headrace.kube.plan import Plan
from headrace.tracking.errors import (
    AliasReserved,
    ExperimentDeleted,
    ModelNameTaken,
    NotFound,
    TrackingForbidden,
    TrackingUnavailable,
    VersionMismatch,
)
from headrace.tracking.records import ModelVersion, Run
from headrace.training.approval import decided, untold
from headrace.training.finish import finish
from headrace.training.judging import DigestMismatch
from headrace.training.observed import Observed, Source
from headrace.training.plan import after_refusal, plan
from headrace.training.schedule import observed as schedules
from headrace.training.schedule.plan import plan as plan_of_schedule
from headrace.training.schedule.problems import MANAGED_BY_MISSING, of_refusal
from headrace.training.states import Reason
from headrace.training.status import finish_status
from headrace.training.verdict import refused
from headrace.training.view import Problem, Start
from headrace_common.protocol.parts import ExportTrial, Progress
from headrace_common.protocol.report import Live
from headrace_common.protocol.trials import Answer
from training_builders import (
    BASELINE,
    EVALUATE,
    JUDGED,
    MADE,
    NOW,
    PREPARE,
    REPORT,
    SETTINGS,
    batch_job,
    container,
    disruption,
    ended,
    pod,
    prepared,
    record,
    scheduled,
    stamp,
    training_job,
    unschedulable,
)
from words import reasons_of, unclear

NOTHING = Observed(jobs=(), pods=(), source=Source({"train.py": "print()"}, "5"))
COMPLETE, FAILED = (("Complete", ""),), (("Failed", "BackoffLimitExceeded"),)
LATER = NOW + timedelta(seconds=61)
UNENFORCED = replace(SETTINGS, approvals_enforced=False)
DIGEST = "sha256:" + "a" * 64
MODEL = {"uri": "s3://team-a/mlflow/x/1/artifacts/model", "digest": DIGEST, "formats": ["ONNX"]}
OUTPUT = {"tracking": {"experiment": "x"}, "output": {"model": "text", "alias": "candidate"}}
SUCCEEDED = record("Succeeded", NOW)
STUCK = pod(0, "Pending", node="", conditions=(unschedulable("0/1 nodes"),))
QUEUED = replace(batch_job(), suspended=True, started_at=None)


def under_way(**more):
    attempt = {"number": 1, "job": "text-1", "jobUID": "uid-of-text-1", "image": "i", "startedAt": stamp(NOW)}
    return {"state": "Running", "attempt": attempt, "startTime": stamp(NOW)} | more


def look(job, observed=NOTHING, start=None, now=NOW) -> Plan:
    return plan(job, observed, start or Start(), now, SETTINGS)


def stopped_by(failure_class, reason, *, patient=False) -> Plan:
    return look(training_job(), start=Start(problem=Problem(failure_class, reason, "MLflow says no", patient)))


def rejected(error) -> Plan:
    return after_refusal(training_job(under_way()), Refused(error), NOW, SETTINGS)


def sees(*pods, batch=None, refusal="", live=None, now=NOW, status=None, workers=1, **spec) -> Plan:
    """A look at an attempt under way."""
    observed = Observed((batch or batch_job(),), pods, None, live=live, refusal=refusal)
    return look(training_job(status or under_way(), workers=workers, **spec), observed, now=now)


def trains(state="Training", conditions=None, **metrics) -> Plan:
    live = Live(state, Progress(45.7, 1320, 5, 10, 450, 1000), metrics, None, None, None, conditions or {})
    return sees(pod(0), live=live)


def tries(trial) -> Plan:
    live = Live("Training", Progress(), {}, None, None, None, {}, trial)
    return sees(pod(0), live=live, **OUTPUT)


def waits(reason, message="") -> Plan:
    return sees(pod(0, "Pending", waiting=(reason, message)))


def fails(exit_code=1, message="", **more) -> Plan:
    return sees(pod(0, "Failed", exit_code=exit_code, message=message, **more), batch=batch_job(conditions=FAILED))


def says(outcome, **fields) -> Plan:
    return fails(message=record(outcome, NOW, **fields))


def gone(*pods, **spec) -> Plan:
    """The attempt's Job is not there any more."""
    return look(training_job(under_way(), workers=1, **spec), Observed((), pods, None))


def trained(**fields) -> Plan:
    spec = OUTPUT if fields else {}
    done = pod(0, "Succeeded", exit_code=0, message=record("Succeeded", NOW, **fields))
    return sees(done, batch=batch_job(conditions=COMPLETE), **spec)


def prepares(state="Training", conditions=None) -> Plan:
    """The stage before the training, while it runs."""
    live = Live(state, Progress(), {}, None, None, None, conditions or {})
    return sees(pod(0), live=live, prepare=PREPARE)


def prepared_with(**fields) -> Plan:
    """That stage at its end."""
    done = pod(0, "Succeeded", exit_code=0, message=record("Succeeded", NOW, **fields))
    return sees(done, batch=batch_job(conditions=COMPLETE), prepare=PREPARE)


def of_schedule(run=None, problem=None, complaint="", **schedule) -> Plan:
    """A look at a job that trains again and again; `run` is what differs from a Job without a training."""
    job = training_job(schedule={"cron": "0 3 * * *"} | schedule)
    new = {"metadata": {"name": "text-29745123", "uid": "1", "creationTimestamp": stamp(NOW)}}
    runs = () if run is None else (replace(schedules.read_run(new), **run),)
    return plan_of_schedule(job, job.spec.schedule, schedules.Observed(None, runs, complaint), problem, LATER)


def ended_on_schedule(state) -> Plan:
    end = schedules.Training("text-29745123", State(state), "GatePassed", "all gates passed", NOW, NOW)
    return of_schedule(run={"training": end})


def without_training(*, started=None, refusal=None, suspended=False, **schedule) -> Plan:
    found = replace(batch_job("text-29745123"), started_at=started, suspended=suspended)
    return of_schedule(run={"job": found, "refusal": refusal}, **schedule)


TO_JUDGE = {"name": "team-a.text", "uri": MODEL["uri"], "digest": REPORT["digest"]}


def judging(**more):
    """The status in the stage after the training."""
    status = under_way(stage="Evaluate", model=TO_JUDGE, evaluation={"format": "ONNX", "baseline": BASELINE}, **more)
    status["attempt"]["stage"] = "Evaluate"
    return status


def evaluates(state="Evaluating", conditions=None) -> Plan:
    """That stage, while it runs."""
    live = Live(state, Progress(), {}, None, None, None, conditions or {})
    return sees(pod(0), live=live, status=judging(), **JUDGED)


def evaluated_with(**fields) -> Plan:
    """That stage at its end."""
    done = pod(0, "Succeeded", exit_code=0, message=record("Succeeded", NOW, **fields))
    return sees(done, batch=batch_job(conditions=COMPLETE), status=judging(), **JUDGED)


def explained_with(rows: int, message: str = "") -> Plan:
    """Its end, with `evaluate.explain`."""
    said = record("Succeeded", NOW, evaluation=REPORT | ({"explained": rows} if rows else {}), message=message)
    done = pod(0, "Succeeded", exit_code=0, message=said)
    asked = JUDGED | {"evaluate": EVALUATE | {"explain": {}}}
    return sees(done, batch=batch_job(conditions=COMPLETE), status=judging(), **asked)


def begins_to_evaluate(start=None) -> Plan:
    status = judging(reason="Trained")
    status["attempt"] |= {"stage": "Train", "finishedAt": stamp(NOW)}
    return look(training_job(status, workers=1, **JUDGED), start=start)


def finishing(**spec):
    model = {"name": "team-a.text", "uri": MODEL["uri"], "digest": DIGEST}
    run = {"id": "r", "experimentID": "3"}
    return training_job(under_way(state="Finishing", model=model, run=run), workers=1, **OUTPUT | spec)


class Registry:
    """MLflow with one good run; `alias` is what moving the alias raises."""

    def __init__(self, alias=None):
        self._alias = alias

    async def find_run(self, *_):
        artifacts = "s3://team-a/mlflow/x/1/artifacts"
        return Run("r", "3", "FINISHED", artifacts, metrics={"acc": 0.5}, tags={"headrace.digest": DIGEST})

    async def tag_run(self, *_):
        """Written."""

    async def ensure_model(self, *_):
        return type("Model", (), {"name": "team-a.text"})

    async def register(self, *_):
        return ModelVersion("team-a.text", "7", MODEL["uri"], {})

    async def alias_owner(self, *_):
        return "" if self._alias is None else "team-a/shop"

    async def point_alias(self, *_):
        if self._alias is not None:
            raise self._alias


def registered(alias=None, **spec) -> Plan:
    job = finishing(**spec)
    verdict = asyncio.run(finish(job, Registry(alias), "", NOW))
    return Plan(status=finish_status(job, verdict.status, NOW), events=(verdict.event,))


APPROVAL = OUTPUT | {"output": OUTPUT["output"] | {"approval": {"required": True}}}
DECIDED = {"headrace.dev/approval": "Approved", "headrace.dev/approval-by": "alice"}


def awaits(settings=SETTINGS, marks=None, **spec) -> Plan:
    """A look at a version that waits for a person."""
    status = registered(**APPROVAL).status
    job = training_job(status, workers=1, **APPROVAL | spec)
    meta = job.metadata.model_copy(update={"annotations": marks or {}})
    return plan(job.model_copy(update={"metadata": meta}), Observed((), (), None), Start(), NOW, settings)


def decides(decision="Approved", problem=None) -> Plan:
    """MLflow was told of a decision."""
    taken = awaits(marks=DECIDED | {"headrace.dev/approval": decision, "headrace.dev/approval-reason": "it is right"})
    job = training_job(taken.status, workers=1, **APPROVAL)
    verdict = decided(job, problem)
    return Plan(status=finish_status(job, verdict.status, NOW), events=(verdict.event,))


def cannot_tell() -> Plan:
    job = training_job(awaits(marks=DECIDED).status, workers=1, **APPROVAL)
    return Plan(status=finish_status(job, untold(job.status, TrackingUnavailable("MLflow does not answer")), NOW))


def a_trial_ended(*, is_orphan: bool = False) -> Plan:
    model = {"name": "team-a.text", "uri": MODEL["uri"], "digest": DIGEST}
    job = tuning.a_trial({"state": "Finishing", "model": model, "run": {"id": "r", "experimentID": "3"}})
    if is_orphan:
        job = job.model_copy(update={"metadata": job.metadata.model_copy(update={"owner_references": ()})})
    verdict = asyncio.run(finish(job, Registry(), "", NOW))
    return Plan(status=finish_status(job, verdict.status, NOW), events=(verdict.event,))


def not_registered(error) -> Plan:
    job = finishing()
    verdict = refused(job.status, error, NOW)
    return Plan(status=finish_status(job, verdict.status, NOW), events=(verdict.event,))


def strange(**more):
    return replace(pod(0, **more), name="text-1-0-strange")


ALL_ENDED = tuple(tuning.ended(number, f"0.{number + 1}") for number in range(4))
PLANS = {
    # before an attempt
    "first pass": lambda: look(training_job()),
    "status lost, pods run": lambda: look(training_job(), replace(NOTHING, pods=(pod(0),))),
    "no ConfigMap": lambda: look(training_job(), replace(NOTHING, source=None)),
    "no ConfigMap, for too long": lambda: look(
        training_job(), replace(NOTHING, source=None), now=NOW + timedelta(seconds=700)
    ),
    "no entrypoint": lambda: look(training_job(), replace(NOTHING, source=Source({}, "1"))),
    "no tenant": lambda: stopped_by(FailureClass.CONFIG, Reason.TENANT_NOT_FOUND),
    "no MLflow configured": lambda: stopped_by(FailureClass.CONFIG, Reason.TRACKING_NOT_CONFIGURED),
    "MLflow is away": lambda: stopped_by(FailureClass.TRACKING, Reason.TRACKING_UNAVAILABLE, patient=True),
    "run deleted": lambda: stopped_by(FailureClass.TRACKING, Reason.RUN_DELETED, patient=True),
    "experiment deleted": lambda: stopped_by(FailureClass.CONFIG, ExperimentDeleted.reason),
    "suspended": lambda: look(training_job(suspend=True)),
    "pods of an earlier job run": lambda: look(training_job(), replace(NOTHING, strangers=(strange(),))),
    "a Job of an earlier job is there": lambda: look(
        training_job(), replace(NOTHING, jobs=(replace(batch_job(), owner_uid="other"),))
    ),
    "rejected for good": lambda: rejected(Invalid("POST of Job: 422 Invalid: x", status=422)),
    "rejected for a quota": lambda: rejected(Forbidden("POST of Job: 403: exceeded quota", status=403)),
    "no time is left": lambda: look(training_job({"activeSeconds": 9}, activeDeadlineSeconds=9)),
    # while it starts
    "its Job belongs to another": lambda: sees(batch=replace(batch_job(), owner_uid="other")),
    "in Kueue's queue": lambda: sees(batch=QUEUED),
    "no pods yet": lambda: sees(),
    "pods cannot be created": lambda: sees(refusal="exceeded quota", now=NOW + timedelta(seconds=9)),
    "no node fits": lambda: sees(STUCK),
    "no node fits, with a deadline": lambda: sees(STUCK, startDeadlineSeconds=600),
    "no image": lambda: waits("ImagePullBackOff"),
    "no image, for too long": lambda: sees(
        pod(0, "Pending", waiting=("ImagePullBackOff", "")), now=NOW + timedelta(seconds=700)
    ),
    "a wrong image name": lambda: waits("InvalidImageName"),
    "no Secret": lambda: waits("CreateContainerConfigError", 'secret "x" not found'),
    "no command": lambda: waits("RunContainerError"),
    "a sidecar crashes": lambda: waits("CrashLoopBackOff"),
    "no volume": lambda: sees(
        pod(0, "Pending", waiting=("ContainerCreating", ""), conditions=(scheduled(NOW), prepared(yes=False))),
        now=LATER,
    ),
    "no sandbox": lambda: sees(
        replace(
            pod(0, "Pending", waiting=("ContainerCreating", ""), conditions=(scheduled(NOW), prepared(yes=False))),
            no_sandbox="Failed to create pod sandbox: no network",
        ),
        now=LATER,
    ),
    "no claim": lambda: sees(
        pod(0, "Pending", node="", conditions=(unschedulable('persistentvolumeclaim "nope" not found'),))
    ),
    "containers start": lambda: sees(pod(0, "Pending", waiting=("ContainerCreating", ""))),
    # while it runs
    "the launcher has not answered": lambda: sees(pod(0)),
    "preparing": lambda: trains("Preparing"),
    "installing packages": lambda: trains("Installing"),
    "going through data again": lambda: trains("Resuming"),
    "training": lambda: trains(),
    "training, told by an older release": lambda: sees(pod(0), status=under_way(reason="Training")),
    "diverged": lambda: trains(loss=float("nan")),
    "no longer diverged": lambda: sees(pod(0), status=trains(loss=float("nan")).status | {"metrics": {"loss": "0.5"}}),
    "the export cannot be made": lambda: tries(ExportTrial(("ONNX",), "export of model x: ONNX cannot be made: y")),
    "the export can be made": lambda: tries(ExportTrial((), "export: ONNX can be made of model x")),
    "exporting": lambda: trains("Exporting"),
    "uploading": lambda: trains("Uploading"),
    "MLflow does not answer": lambda: trains(conditions={"tracking": "Buffering"}),
    "the run is deleted": lambda: trains(conditions={"tracking": "RunDeleted"}),
    "S3 does not answer": lambda: trains(conditions={"storage": "Buffering"}),
    "its pod is deleted": lambda: sees(pod(0, deleted_at=NOW)),
    "its node is silent": lambda: sees(pod(0, deleted_at=NOW), now=LATER),
    "suspending": lambda: sees(pod(0), suspend=True),
    "suspended by Kueue": lambda: sees(pod(0), batch=replace(batch_job(), suspended=True)),
    "its Job is being deleted": lambda: sees(pod(0), batch=replace(batch_job(), deleting=True)),
    "stopped": lambda: gone(pod(0, "Failed", exit_code=6, deleted_at=NOW), suspend=True),
    # trials in its place
    "trials run": lambda: tuning.passed(tuning.ended(0, "0.7"), tuning.trial_object(1)),
    "trials are over": lambda: tuning.passed(*(tuning.ended(number, "0.7") for number in range(4))),
    "trials begin": lambda: tuning.passed(answer=Answer({0: tuning.GIVEN})),
    "models of trials are removed": lambda: tuning.passed(
        *(tuning.ended(number, "0.7") for number in range(3)),
        kept_because={"uid-t1": "", "uid-t2": "version 3 of model team-a.other refers to it"},
        **tuning.ONE_KEPT,
    ),
    "models of trials stay": lambda: tuning.passed(
        *ALL_ENDED,
        status=tuning.passed(*ALL_ENDED, **tuning.ONE_KEPT).status,
        now=NOW + timedelta(seconds=601),
        **tuning.ONE_KEPT,
    ),
    "trials are suspended": lambda: tuning.passed(tuning.trial_object(0), suspend=True),
    "too many trials failed": lambda: tuning.passed(tuning.failed(0), tuning.failed(1)),
    "no trial has the metric": lambda: tuning.passed(tuning.silent(0)),
    "no trial ended well": lambda: tuning.over(*(tuning.failed(number) for number in range(4)), **tuning.ANY_FAILURES),
    "its pod ended before the trials": lambda: tuning.over(tuning.trial_object(0)),
    "the best trial is registered": lambda: tuning.over(*(tuning.ended(number, "0.7") for number in range(4))),
    "a trial ended": lambda: a_trial_ended(),
    "a trial has outlived its job": lambda: a_trial_ended(is_orphan=True),
    "the pod of the tuning is silent": lambda: tuning.passed(status=tuning.passed().status, now=LATER),
    "the pod of the tuning stays silent": lambda: tuning.passed(
        status=tuning.passed().status, now=NOW + timedelta(seconds=601)
    ),
    "a trial is refused": lambda: after_refusal(
        tuning.tuned(tuning.passed().status), Refused(Forbidden("403 Forbidden: denied")), NOW, SETTINGS
    ),
    # the stage before it
    "a dataset is prepared": lambda: prepares(),
    "a dataset is uploaded": lambda: prepares("Uploading"),
    "MLflow does not answer to it": lambda: prepares(conditions={"tracking": "Buffering"}),
    "a dataset was prepared": lambda: prepared_with(dataset=MADE),
    "a dataset was there": lambda: prepared_with(dataset=MADE | {"reused": True, "madeBy": "team-a/earlier"}),
    "no dataset was prepared": lambda: prepared_with(),
    "the script left nothing": lambda: sees(
        pod(
            0,
            "Failed",
            exit_code=2,
            message=record("Failed", NOW, reason="NoDataset", message="no file", **{"class": "Config"}),
        ),
        batch=batch_job(conditions=FAILED),
        prepare=PREPARE,
    ),
    # the stage after it
    "a model was trained that is to be judged": lambda: sees(
        pod(0, "Succeeded", exit_code=0, message=record("Succeeded", NOW, model=MODEL)),
        batch=batch_job(conditions=COMPLETE),
        **JUDGED,
    ),
    "there is no baseline yet": begins_to_evaluate,
    "no version has the baseline's alias": lambda: begins_to_evaluate(Start("3", "team-a", "team-a/x", versions=5)),
    "the baseline has no digest": lambda: begins_to_evaluate(
        Start(problem=Problem(FailureClass.DATA, Reason.BASELINE_UNREADABLE, "version 6 has no digest"))
    ),
    "the pod of the evaluation starts": lambda: evaluates("Preparing"),
    "a model is judged": lambda: evaluates(),
    "the report is uploaded": lambda: evaluates("Uploading"),
    "MLflow does not answer to the evaluation": lambda: evaluates(conditions={"tracking": "Buffering"}),
    "the run of the evaluation is deleted": lambda: evaluates(conditions={"tracking": "RunDeleted"}),
    "S3 does not answer to the evaluation": lambda: evaluates(conditions={"storage": "Buffering"}),
    "a model was judged": lambda: evaluated_with(evaluation=REPORT),
    "rows were explained": lambda: explained_with(20),
    "some rows were explained": lambda: explained_with(
        8, "evaluate.explain.deadline (300 s) was over: allow more time"
    ),
    "no row was explained": lambda: explained_with(0, "the output label names a class and has no numbers"),
    "a launcher that explains nothing": lambda: explained_with(0),
    "nothing was judged": lambda: evaluated_with(),
    "another model was judged": lambda: evaluated_with(evaluation=REPORT | {"digest": DIGEST}),
    "another baseline was compared with": lambda: evaluated_with(evaluation=REPORT | {"baselineDigest": DIGEST}),
    # its end
    "worker 0 has ended": lambda: sees(pod(0, exit_code=0, message=SUCCEEDED), pod(1), workers=2),
    "all have ended": lambda: sees(pod(0, "Succeeded", exit_code=0, message=SUCCEEDED)),
    "a side container runs": lambda: sees(pod(0, exit_code=0, message=SUCCEEDED, sides=(container("logs"),))),
    "a side container stays": lambda: sees(
        pod(0, exit_code=0, message=SUCCEEDED, sides=(container("logs"),)), now=LATER
    ),
    "the Job failed, a pod runs": lambda: sees(pod(0), batch=batch_job(conditions=FAILED)),
    "the script raised": lambda: says("Failed", **{"class": "UserCode", "reason": "ScriptRaised", "hint": "read it"}),
    "the last restart is used up": lambda: sees(
        pod(0, "Failed", exit_code=1, message="x"),
        batch=batch_job(conditions=FAILED),
        status=under_way(attemptsCounted=3),
    ),
    "the package index is away": lambda: says(
        "Failed", **{"class": "Storage", "reason": "PackageIndexUnavailable", "hint": "check it"}
    ),
    "the script exited": lambda: fails(),
    "it was killed": lambda: fails(137),
    "out of memory": lambda: fails(137, reason="OOMKilled"),
    "interrupted, no message": lambda: says("Interrupted"),
    "a side container failed": lambda: sees(
        pod(0, "Failed", inits=(container("warm-up", ended(1)),)), batch=batch_job(conditions=FAILED)
    ),
    "evicted": lambda: fails(6, conditions=(disruption("EvictionByEvictionAPI"),)),
    "preempted": lambda: fails(6, conditions=(disruption("PreemptionByScheduler"),)),
    "a node was lost": lambda: fails(6, conditions=(disruption("DeletionByTaintManager"),)),
    "over its storage": lambda: fails(137, pod_reason="Evicted", pod_message="ephemeral local storage"),
    "rejected by the kubelet": lambda: sees(pod(0, "Failed"), batch=batch_job(conditions=FAILED)),
    "its pod is gone": lambda: sees(batch=batch_job(conditions=FAILED)),
    "its Job is gone": lambda: gone(),
    "the time is over": lambda: sees(batch=batch_job(conditions=(("Failed", "DeadlineExceeded"),))),
    "no record": lambda: sees(pod(0, "Succeeded", exit_code=0), batch=batch_job(conditions=COMPLETE)),
    "pods of the last attempt run": lambda: look(
        training_job(fails().status, workers=1), replace(NOTHING, pods=(pod(0),)), now=NOW + timedelta(seconds=9)
    ),
    "no output": lambda: trained(),
    "no model": lambda: trained(metrics={"loss": 0.5}),
    "several models": lambda: trained(reason="AmbiguousModel", message="2 models could be meant: 1. a, 2. b"),
    "a model to register": lambda: trained(model=MODEL),
    "a format was not exported": lambda: trained(model=MODEL, modelNote="no SavedModel"),
    "a required format was not exported": lambda: sees(
        pod(0, "Succeeded", exit_code=0, message=record("Succeeded", NOW, model=MODEL, modelNote="no SavedModel")),
        batch=batch_job(conditions=COMPLETE),
        **OUTPUT | {"output": {"model": "text", "requiredFormats": ["TensorFlow"]}},
    ),
    "all formats were exported": lambda: trained(model=MODEL | {"formats": ["TensorFlow", "ONNX"]}),
    # the registry
    "the digests differ": lambda: not_registered(DigestMismatch("the digests differ")),
    "the name is taken": lambda: not_registered(ModelNameTaken("the name is taken")),
    "the version is another": lambda: not_registered(VersionMismatch("the version is another")),
    "MLflow forbids it": lambda: not_registered(TrackingForbidden("403")),
    "the registered version": lambda: registered(),
    "the gate passed": lambda: registered(evaluation={"gates": [{"metric": "acc", "min": "0.1"}]}),
    "the gate failed": lambda: registered(evaluation={"gates": [{"metric": "acc", "min": "0.9"}]}),
    "no policy for approvals": lambda: stopped_by(FailureClass.CONFIG, Reason.APPROVAL_NOT_ENFORCED),
    "a version waits for a person": lambda: registered(**APPROVAL),
    "its alias is a service's own": lambda: registered(AliasReserved("alias candidate is another's"), **APPROVAL),
    "it still waits": lambda: awaits(),
    "it waits, and the job has a time to live": lambda: registered(**APPROVAL, ttlSecondsAfterFinished=60),
    "it waits, and no policy is there": lambda: awaits(UNENFORCED, DECIDED),
    "a schedule waits for its time": lambda: of_schedule(),
    "a schedule is suspended": lambda: of_schedule(suspend=True),
    "the CronJob of a schedule is refused": lambda: of_schedule(problem=of_refusal(Refused(Invalid("5-1")), None)),
    "a cluster would run the schedule's Jobs": lambda: of_schedule(problem=MANAGED_BY_MISSING),
    "a Job of a schedule is refused": lambda: of_schedule(complaint="exceeded quota"),
    "a training on schedule was started": lambda: of_schedule(run={"training": schedules.Training("text-29745123")}),
    "a training on schedule has succeeded": lambda: ended_on_schedule("Succeeded"),
    "a training on schedule has failed": lambda: ended_on_schedule("Failed"),
    "a training on schedule finds no quota": lambda: without_training(refusal=schedules.Refusal("quota", False)),
    "a Job of a schedule is suspended": lambda: without_training(suspended=True),
    "a training on schedule is refused": lambda: without_training(refusal=schedules.Refusal("name is too long", True)),
    "a training on schedule comes too late": lambda: without_training(startingDeadlineSeconds=10),
    "a training on schedule was deleted": lambda: without_training(started=NOW),
    "a person has decided": lambda: awaits(marks=DECIDED),
    "MLflow does not know yet": lambda: cannot_tell(),
    "a person has approved": lambda: decides(),
    "a person has refused": lambda: decides("Refused"),
    "a person has approved a version that is deleted": lambda: decides(problem=NotFound("version 7 is not there")),
    "the alias is reserved": lambda: registered(AliasReserved("the alias is the promotion alias of a ModelService")),
}


@pytest.mark.parametrize("name", PLANS)
def test_no_text_of_a_training_job_is_empty_or_a_riddle(name):
    assert unclear(PLANS[name]()) == []


def test_what_goes_on_at_the_start_and_at_the_end_fits_any_script():
    starts, ends = trains("Preparing").status["message"], trains("Uploading").status["message"]
    assert "the script imports its libraries" in starts  # TensorFlow's takes most of the time
    assert "the model, if it leaves one, and its outputs" in ends


def test_what_a_stage_of_preparation_says_is_not_of_a_training():
    uploading, outage = PLANS["a dataset is uploaded"]().status, PLANS["MLflow does not answer to it"]().status
    assert "training" not in uploading["message"]
    assert "the preparation continues" in outage["message"]
    assert "checkpoints and the dataset" in prepares(conditions={"storage": "Buffering"}).status["message"]
    deleted = prepares(conditions={"tracking": "RunDeleted"}).status["message"]
    assert "the id in status.stages[0].run.id" in deleted


def test_what_a_stage_of_evaluation_says_is_not_of_a_training():
    told = {name: PLANS[name]().status["message"] for name in PLANS if "evaluation" in name or "report" in name}
    assert [name for name, text in told.items() if "training" in text or "script" in text] == []
    deleted = told["the run of the evaluation is deleted"]
    assert "the evaluation continues" in deleted
    assert "the id in run.id of Evaluate in status.stages" in deleted


def test_the_table_has_every_state_and_every_reason_of_the_operators():
    plans = [made() for made in PLANS.values()]

    assert {plan.status.get("state") for plan in plans} >= {state.value for state in State}
    known = {value for name, value in vars(Reason).items() if name.isupper()}
    assert known - {reason for plan in plans for reason in reasons_of(plan)} == set()


WAITING = {
    "no ConfigMap": replace(NOTHING, source=None),
    "a Job of an earlier job is there": replace(NOTHING, jobs=(replace(batch_job(), owner_uid="other"),)),
    "no node fits": Observed((batch_job(),), (STUCK,), None),
    "in Kueue's queue": Observed((QUEUED,), (), None),
}


@pytest.mark.parametrize("name", WAITING)
def test_a_text_stays_the_same_while_nothing_else_changes(name):
    """Each change is a write of the status."""
    first = PLANS[name]().status

    later = look(training_job(first), WAITING[name], now=NOW + timedelta(seconds=300)).status

    assert later["message"] == first["message"]
