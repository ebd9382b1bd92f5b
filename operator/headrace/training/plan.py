"""Plans one pass over a TrainingJob: from spec, status and what the cluster shows to the next status and acts (pure).

The flow of a TrainingJob reads from top to bottom in `plan`: over -> ending -> not started -> under way.
Invariants: the attempt is written into status before its Job is created (a killed operator finds its way from there); a
cause is taken only when no pod of the attempt can still change its record; pods are released after their record is in
status; only ended attempts' time counts against the deadline, which the Job of the one under way keeps by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from headrace.api.trainingjob import (
    Attempt,
    ConditionStatus,
    Failure,
    FailureClass,
    Run,
    SourceStatus,
    State,
    TrainedModel,
    TrainingJob,
    TrainingJobStatus,
    Worker,
)
from headrace.clock import shown
from headrace.kube.errors import Refused
from headrace.kube.plan import Delete, Event, EventType, Patch, Plan
from headrace.kube.resources import CONFIGMAPS, JOBS, NETWORKPOLICIES, SERVICES, TRAININGJOBS
from headrace.labels import QUEUE
from headrace.settings import Settings
from headrace.tracking.ledger import model_name
from headrace.training import attempt as attempts
from headrace.training.deadline import start_deadline
from headrace.training.divergence import HINT, divergence
from headrace.training.failures import (
    HINTS,
    Cause,
    Waiting,
    all_over,
    cause_of,
    filled,
    is_lost,
    pod_cause,
    waiting_for,
    without_record,
)
from headrace.training.formats import (
    TRIAL_CONDITION,
    event_of,
    exportable,
    formats_exported,
    missing_of_required,
    with_condition,
    without_condition,
)
from headrace.training.gpus import image_of
from headrace.training.job import (
    PROGRESS_PORT,
    AttemptContext,
    attempt_name,
    remaining_seconds,
    render_job,
    render_network_policy,
    render_service,
    render_source,
)
from headrace.training.observed import Job, Observed, Pod, ended_at
from headrace.training.release import release
from headrace.training.sidecars import HINT as SIDECAR_HINT
from headrace.training.sidecars import SIDE_GRACE, held_up, overstayed, record_of_success
from headrace.training.states import FINAL_STATES, Reason
from headrace.training.status import finish_status, numbers, take_live, take_record
from headrace_common.protocol.report import Condition as LauncherCondition
from headrace_common.protocol.report import Live, Record
from headrace_common.protocol.report import State as LauncherState

POLL_RUNNING = 5.0
POLL_WAITING = 2.0
POLL_ENDING = 1.0
MAX_NAMED = 5  # pods in a message
NO_TIME_LIMIT = "the TrainingJob waits without a time limit"
# The Job controller makes pods at once; after this long something keeps it from it.
PODS_MADE_WITHIN = timedelta(seconds=3)
PREPARE_REASONS: Mapping[str, str] = {
    LauncherState.PREPARING: Reason.PREPARING,
    LauncherState.INSTALLING: Reason.INSTALLING_PACKAGES,
    LauncherState.RESUMING: Reason.RESUMING,
    LauncherState.EXPORTING: Reason.EXPORTING,
    LauncherState.UPLOADING: Reason.UPLOADING,
}
# What the launcher says of its surroundings: the training continues, but whoever looks has to know.
OUTAGES: Mapping[tuple[str, str], tuple[str, str]] = {
    ("tracking", LauncherCondition.RUN_DELETED): (
        Reason.RUN_DELETED,
        "the MLflow run was deleted, by itself or with its experiment; the training continues, and metrics are "
        "buffered in the pod; restore the run in MLflow (runs page, filter by state Deleted; or `mlflow runs restore "
        "--run-id` with the id in status.run.id)",
    ),
    ("tracking", LauncherCondition.BUFFERING): (
        Reason.TRACKING_UNAVAILABLE,
        "MLflow does not answer; the training continues, and metrics are buffered in the pod until it does; check that "
        "the MLflow server is running and can be reached from this namespace",
    ),
    ("storage", LauncherCondition.BUFFERING): (
        Reason.STORAGE_UNAVAILABLE,
        "S3 does not answer; downloads of datasets wait for it, checkpoints and the model are kept in the pod until it "
        "does; check that the S3 store is running, and the chart's s3.endpoint",
    ),
}
# What goes on while nothing is wrong.
GOES_ON: dict[str, str] = {
    Reason.PREPARING: "the pod starts: it downloads datasets, looks for a checkpoint to resume from, and the script "
    "imports its libraries",
    Reason.INSTALLING_PACKAGES: "the launcher is installing the packages that requirements.txt names and the image "
    "lacks; the pod's log says how far it is",
    Reason.RESUMING: "the data that was trained on is gone through again, for at most spec.checkpoint.maxReplay; "
    "status.progress says how far that is (spec.checkpoint.resume: Fast does without)",
    Reason.TRAINING: "the training is running; status.progress and status.metrics say how far it is",
    Reason.EXPORTING: "the training has ended; the model is being exported in the formats of spec.output.formats",
    Reason.UPLOADING: "the script has ended; the model, if it leaves one, and its outputs are being uploaded to S3",
}
_SHOWN_OF_FAILURE = 160
AMBIGUOUS_HINT = (
    "name the model in the script, with headrace_client.export(model), or call model.evaluate on it last, and create a "
    "new TrainingJob"
)
REQUIRED_FORMAT_HINT = (
    "change the layer that the message names, or take the format out of output.requiredFormats, in a new TrainingJob; "
    "what was exported is kept at status.model.uri"
)
# Told by the launcher itself: they hold until it tells something else.
TOLD_REASONS = frozenset({Reason.TRAINING, *PREPARE_REASONS.values(), *(reason for reason, _ in OUTAGES.values())})


@dataclass(frozen=True)
class Problem:
    """Why an attempt cannot begin yet. `patient` ones are waited for without end, the others until the deadline."""

    failure_class: FailureClass
    reason: str
    message: str
    patient: bool = False


@dataclass(frozen=True)
class Start:
    """What reconcile found out before an attempt may begin: where its run and checkpoints belong."""

    experiment_id: str = ""
    bucket: str = ""
    run_experiment: str = ""
    problem: Problem | None = None


def plan(job: TrainingJob, observed: Observed, start: Start, now: datetime, settings: Settings) -> Plan:
    """The next pass. `start` matters only when an attempt begins."""
    draft = _plan(job, observed, start, now, settings)
    return _finished(job, draft, now, settings)


def _finished(job: TrainingJob, draft: _Draft, now: datetime, settings: Settings) -> Plan:
    if draft.status is None:
        return draft.plan
    status = finish_status(job, _with_run_url(draft.status, settings), now)
    return replace(draft.plan, status=status, events=(*draft.plan.events, *_diverged(job.status, draft.status)))


def _diverged(before: TrainingJobStatus, after: TrainingJobStatus) -> tuple[Event, ...]:
    diverged = divergence(numbers(after))
    if not diverged or divergence(numbers(before)):
        return ()
    return (Event(EventType.WARNING, "Diverged", f"{diverged}: the training has diverged; {HINT}"),)


def _with_run_url(status: TrainingJobStatus, settings: Settings) -> TrainingJobStatus:
    run = status.run
    if run is None or not run.id or run.url is not None or settings.tracking is None:
        return status
    url = f"{settings.tracking.public_url}/#/experiments/{run.experiment_id}/runs/{run.id}"
    return status.model_copy(update={"run": run.model_copy(update={"url": url})})


@dataclass(frozen=True)
class _Draft:
    """A plan whose status is still typed."""

    plan: Plan
    status: TrainingJobStatus | None = None


def after_refusal(job: TrainingJob, refusal: Refused, now: datetime, settings: Settings) -> Plan:
    """The next pass after the API server did not take an object of the attempt that was to begin."""
    problem = Problem(FailureClass.CONFIG, Reason.REFUSED, str(refusal)[:768])
    if refusal.for_good:
        draft = _fail_to_begin(job, Cause(problem.failure_class, problem.reason, problem.message, now), now)
    else:
        draft = _wait_to_begin(job, problem, now)
    return _finished(job, draft, now, settings)


def _plan(job: TrainingJob, observed: Observed, start: Start, now: datetime, settings: Settings) -> _Draft:
    status, namespace = job.status, job.metadata.namespace
    if job.metadata.deletion_timestamp is not None:
        return _Draft(
            Plan(patches=release(namespace, observed.pods, now), requeue_after=POLL_ENDING if observed.pods else None)
        )
    if status.state in FINAL_STATES or status.state == State.FINISHING:
        return _after_the_end(job, observed, now)
    if status.attempt is None or status.attempt.finished_at is not None:
        return _before_an_attempt(job, observed, start, now, settings)
    return _during_an_attempt(job, observed, start, now, settings)


# --- over ------------------------------------------------------------------------------------------------------------


def _after_the_end(job: TrainingJob, observed: Observed, now: datetime) -> _Draft:
    """Keeps the last pods for their logs, lets go of those that are held, deletes the job when its time is over."""
    status, metadata = job.status, job.metadata
    patches = release(metadata.namespace, observed.pods, now)
    requeue = POLL_ENDING if any(pod.held for pod in observed.pods) else None
    ttl = job.spec.ttl_seconds_after_finished
    if ttl is not None and status.completion_time is not None and status.state in FINAL_STATES:
        left = (status.completion_time + timedelta(seconds=ttl) - now).total_seconds()
        if left <= 0 and requeue is None:
            return _Draft(Plan(deletes=(Delete(TRAININGJOBS, metadata.namespace, metadata.name, metadata.uid),)))
        requeue = requeue if requeue is not None else left
    return _Draft(Plan(patches=patches, requeue_after=requeue), status)


# --- not started -----------------------------------------------------------------------------------------------------


def _before_an_attempt(job: TrainingJob, observed: Observed, start: Start, now: datetime, settings: Settings) -> _Draft:
    status, namespace = job.status, job.metadata.namespace
    patches = release(namespace, (*observed.pods, *observed.strangers), now)
    if job.spec.suspend:
        suspended = status.model_copy(
            update={
                "state": State.SUSPENDED,
                "reason": Reason.SUSPENDED_BY_USER,
                "message": "suspended because spec.suspend is true; set it to false to continue",
            }
        )
        return _Draft(Plan(patches=patches), suspended)
    if status.next_attempt_at is not None and now < status.next_attempt_at:
        left = (status.next_attempt_at - now).total_seconds()
        return _Draft(Plan(patches=patches, requeue_after=max(left, 0.05)), status)
    if not all_over(observed.pods, now):
        # Two attempts at once would write over each other; the old pods are let go first.
        message = "waiting for pods of the last attempt to terminate: "
        message += _named(pod.name for pod in observed.pods if not pod.is_over)
        waiting = status.model_copy(update={"message": message})
        return _Draft(Plan(patches=patches, requeue_after=POLL_ENDING), waiting)
    taken = observed.job(attempt_name(job.metadata.name, (status.attempt.number if status.attempt else 0) + 1))
    if observed.strangers or (taken is not None and taken.owner_uid != job.metadata.uid):
        return _Draft(Plan(patches=patches, requeue_after=POLL_ENDING), _name_in_use(job, observed.strangers, taken))
    draft = _wait_or_begin(job, observed, start, now, settings)
    return replace(draft, plan=replace(draft.plan, patches=patches))


def _name_in_use(job: TrainingJob, pods: tuple[Pod, ...], batch: Job | None) -> TrainingJobStatus:
    """The status while pods or a Job of this name are there that are not this TrainingJob's."""
    left = [f"pod {pod.name}" for pod in pods]
    if batch is not None and batch.owner_uid != job.metadata.uid:
        left.append(f"Job {batch.name} (uid of its owner: {batch.owner_uid or 'none'})")
    wait = f"waiting until what an earlier TrainingJob of this name left is removed: {_named(left)}"
    message = f"{wait}; {_hint(job, Reason.NAME_IN_USE)}"
    return job.status.model_copy(update={"state": State.PENDING, "reason": Reason.NAME_IN_USE, "message": message})


def _named(names: Iterable[str]) -> str:
    """The first few of the names, and how many more there are."""
    known = sorted(names)
    more = f" and {len(known) - MAX_NAMED} more" if len(known) > MAX_NAMED else ""
    return ", ".join(known[:MAX_NAMED]) + more


def _wait_or_begin(job: TrainingJob, observed: Observed, start: Start, now: datetime, settings: Settings) -> _Draft:
    remaining = remaining_seconds(job)
    if remaining is not None and remaining <= 0:
        message = f"the attempts have used up activeDeadlineSeconds ({job.spec.active_deadline_seconds} s)"
        return _fail_to_begin(job, Cause(FailureClass.DEADLINE, Reason.DEADLINE_EXCEEDED, message, now), now)
    if problem := _source_problem(job, observed) or start.problem:
        return _wait_to_begin(job, problem, now)
    return _begin(job, observed, start, now, settings)


def _source_problem(job: TrainingJob, observed: Observed) -> Problem | None:
    source = job.spec.source.config_map
    if source is None:
        return None
    if observed.source is None:
        message = f"there is no ConfigMap {source.name!r} in namespace {job.metadata.namespace!r}"
        return Problem(FailureClass.CONFIG, Reason.SOURCE_NOT_FOUND, message)
    if job.spec.entrypoint not in observed.source.files:
        files = ", ".join(sorted(observed.source.files)[:10]) or "nothing"
        message = f"{job.spec.entrypoint!r} is not in ConfigMap {source.name!r}, which holds {files}"
        return Problem(FailureClass.CONFIG, Reason.ENTRYPOINT_NOT_FOUND, message)
    return None


def _wait_to_begin(job: TrainingJob, problem: Problem, now: datetime) -> _Draft:
    """What is missing may be made a moment after the job: it has until the start deadline."""
    limit = None if problem.patient else start_deadline(job.spec, problem.failure_class, problem.message)
    ends = None if limit is None else _waits_since(job, now) + timedelta(seconds=limit)
    if ends is not None and now > ends:
        return _fail_to_begin(job, Cause(problem.failure_class, problem.reason, problem.message, now), now)
    until = NO_TIME_LIMIT if limit is None else f"the TrainingJob fails if this lasts for {limit} s"
    message = _with_advice(job, problem.message, problem.reason, until)
    waiting = job.status.model_copy(update={"state": State.PENDING, "reason": problem.reason, "message": message})
    events = _unless_told(job.status, waiting, Event(EventType.WARNING, problem.reason, message))
    return _Draft(Plan(events=events, requeue_after=POLL_WAITING), waiting)


def _with_advice(job: TrainingJob, message: str, reason: str, until: str, pod: str = "") -> str:
    """What is wrong, until when the job waits, and what to do about it."""
    return "; ".join(filter(None, (message[:700], until, _hint(job, reason, pod))))


def _hint(job: TrainingJob, reason: str, pod: str = "") -> str:
    return filled(HINTS.get(reason, ""), pod=pod, **attempts.names_of(job))


def _waits_since(job: TrainingJob, now: datetime) -> datetime:
    """Since when the next attempt could have begun: not while another ran, nor while the job was suspended."""
    status, attempt = job.status, job.status.attempt
    if status.state is State.SUSPENDED:
        return now
    resumed = next(
        (
            c.last_transition_time
            for c in status.conditions
            if (c.type, c.status) == ("Suspended", ConditionStatus.FALSE)
        ),
        None,
    )
    ends = (attempt.started_at, attempt.finished_at) if attempt else ()
    return max(filter(None, (job.metadata.creation_timestamp, resumed, status.next_attempt_at, *ends)), default=now)


def _fail_to_begin(job: TrainingJob, cause: Cause, now: datetime) -> _Draft:
    """Ends the job before another attempt's pods were made."""
    failed = attempts.end_failed(job, job.status, cause, now, now)
    return _Draft(Plan(events=(Event(EventType.WARNING, cause.reason, failed.message or ""),)), failed)


def _unless_told(before: TrainingJobStatus, after: TrainingJobStatus, event: Event) -> tuple[Event, ...]:
    """The Event of a status that is written anew; a status that says the same again is no event."""
    return () if (before.reason, before.message) == (after.reason, after.message) else (event,)


def _begin(job: TrainingJob, observed: Observed, start: Start, now: datetime, settings: Settings) -> _Draft:
    status, spec = job.status, job.spec
    number = status.attempt.number + 1 if status.attempt else 1
    image = (status.attempt and status.attempt.image) or image_of(spec, settings)
    begun = status.model_copy(
        update={
            "state": State.PENDING,
            "reason": Reason.WAITING_FOR_PODS,
            "message": f"attempt {number}: creating its Job and pods",
            "attempt": Attempt(number=number, job=attempt_name(job.metadata.name, number), image=image, started_at=now),
            "start_time": status.start_time or now,
            "next_attempt_at": None,
            "run": _expected_run(status, start),
            "source": _pinned_source(job, observed),
        }
    )
    event = Event(
        EventType.NORMAL,
        "AttemptStarted",
        f"attempt {number} started with {spec.strategy.workers} worker(s) and image {image}",
    )
    draft = _create(job.model_copy(update={"status": begun}), observed, start, settings)
    # Of older attempts one is kept, for its logs.
    old = tuple(
        Delete(JOBS, job.metadata.namespace, j.name, j.uid)
        for j in observed.jobs
        if j.name not in (attempt_name(job.metadata.name, number), attempt_name(job.metadata.name, number - 1))
        and j.owner_uid == job.metadata.uid
        and not j.deleting
    )
    return _Draft(replace(draft.plan, deletes=old, events=(event,)), begun)


def _expected_run(status: TrainingJobStatus, start: Start) -> Run | None:
    """The experiment is known before the launcher makes the run in it."""
    if status.run is not None or not start.experiment_id:
        return status.run
    return Run(id="", experiment=start.run_experiment, experiment_id=start.experiment_id)


def _pinned_source(job: TrainingJob, observed: Observed) -> SourceStatus | None:
    if job.status.source is not None or observed.source is None or job.spec.source.config_map is None:
        return job.status.source
    return SourceStatus(
        config_map=job.spec.source.config_map.name,
        resource_version=observed.source.resource_version,
    )


def _create(job: TrainingJob, observed: Observed, start: Start, settings: Settings) -> _Draft:
    """Creates what the attempt in status needs; what is there already is left alone."""
    status, spec = job.status, job.spec
    assert status.attempt is not None
    context = AttemptContext(
        number=status.attempt.number,
        image=status.attempt.image or image_of(spec, settings),
        experiment_id=start.experiment_id,
        bucket=start.bucket,
        remaining_seconds=remaining_seconds(job),
    )
    creates = [(SERVICES, render_service(job, context.number)), (JOBS, render_job(job, context, settings))]
    if spec.source.config_map is not None and observed.source is not None:
        creates.insert(0, (CONFIGMAPS, render_source(job, observed.source)))
    if settings.network_policies:
        creates.insert(0, (NETWORKPOLICIES, render_network_policy(job, settings)))
    return _Draft(Plan(creates=tuple(creates), requeue_after=POLL_WAITING), status)


# --- under way -------------------------------------------------------------------------------------------------------


def _during_an_attempt(job: TrainingJob, observed: Observed, start: Start, now: datetime, settings: Settings) -> _Draft:
    status = job.status
    assert status.attempt is not None
    batch, pods = observed.job(status.attempt.job), observed.pods_of(status.attempt.number)
    if batch is None:
        if not all_over(pods, now):
            return _Draft(Plan(requeue_after=POLL_ENDING), status)
        if record := record_of_success(pods, job.spec.strategy.workers):
            return _trained(job, pods, record, now)
        if status.attempt.job_uid is None and not pods and not job.spec.suspend:
            return _begin_again(job, observed, start, now, settings)
        if job.spec.suspend:
            return _suspended(job, pods, now)
        return _failed(job, pods, cause_of(None, pods, now), None, now)
    if batch.owner_uid != job.metadata.uid:
        return _Draft(Plan(requeue_after=POLL_WAITING), _name_in_use(job, (), batch))
    status = _take_job(status, batch)
    job = job.model_copy(update={"status": status})
    if batch.complete or batch.failed:
        return _ended(job, batch, pods, now)
    if batch.suspended and batch.started_at is None and not pods:
        queued = status.model_copy(
            update={
                "state": State.QUEUED,
                "reason": Reason.WAITING_FOR_QUOTA,
                "message": _waits_in_queue(job, batch),
            }
        )
        return _Draft(Plan(requeue_after=POLL_RUNNING), queued) if not job.spec.suspend else _suspend(job, batch)
    if job.spec.suspend or batch.suspended or batch.deleting:
        return _suspend(job, batch)
    return _active(job, batch, pods, observed, now)


def _waits_in_queue(job: TrainingJob, batch: Job) -> str:
    queue = job.metadata.labels.get(QUEUE, "")
    where = f" to queue {queue}" if queue else ""
    hint = _hint(job, Reason.WAITING_FOR_QUOTA)
    return f"Job {batch.name} is suspended until Kueue admits it{where}; {hint}; {NO_TIME_LIMIT}"


def _begin_again(job: TrainingJob, observed: Observed, start: Start, now: datetime, settings: Settings) -> _Draft:
    """The attempt is in status, its Job was not made: the operator died in between, or the API server refused it.

    What held when the attempt began may not hold any more.
    """
    if problem := _source_problem(job, observed) or start.problem:
        return _wait_to_begin(job, problem, now)
    assert job.status.attempt is not None
    if job.status.reason in (Reason.REFUSED, Reason.NAME_IN_USE):  # which it is until an object could be created
        return _create(job, observed, start, settings)
    message = f"attempt {job.status.attempt.number}: creating its Job and pods"
    begun = job.status.model_copy(
        update={
            "state": State.PENDING,
            "reason": Reason.WAITING_FOR_PODS,
            "message": message,
            "run": _expected_run(job.status, start),
        }
    )
    return _create(job.model_copy(update={"status": begun}), observed, start, settings)


def _take_job(status: TrainingJobStatus, batch: Job) -> TrainingJobStatus:
    """The status with what identifies the attempt's Job, and since when the Job counts its time."""
    assert status.attempt is not None
    changes = {
        "job_uid": status.attempt.job_uid or batch.uid,
        "active_since": status.attempt.active_since or batch.started_at,
    }
    return status.model_copy(update={"attempt": status.attempt.model_copy(update=changes)})


def _suspend(job: TrainingJob, batch: Job) -> _Draft:
    if job.spec.suspend:
        why = "spec.suspend is true"
    elif batch.suspended:
        why = f"Job {batch.name} was suspended, by Kueue or by hand"
    else:
        why = f"Job {batch.name} is being deleted"
    return _stop(job, batch, f"{why}; waiting for the pods to write a last checkpoint and terminate")


def _stop(job: TrainingJob, batch: Job, message: str, *events: Event) -> _Draft:
    """Ends the attempt's Job; once its pods are over the attempt ends (`batch is None` above)."""
    metadata = job.metadata
    deletes = () if batch.deleting else (Delete(JOBS, metadata.namespace, batch.name, batch.uid),)
    ending = job.status.model_copy(update={"reason": Reason.ENDING, "message": message})
    return _Draft(Plan(deletes=deletes, events=events, requeue_after=POLL_ENDING), ending)


def _suspended(job: TrainingJob, pods: tuple[Pod, ...], now: datetime) -> _Draft:
    status = _take_chief_record(job.status, pods)
    message = "suspended because spec.suspend is true; set it to false to resume from the last checkpoint"
    ended = attempts.end_suspended(status, Reason.SUSPENDED_BY_USER, message, ended_at(pods, now))
    number = job.status.attempt.number if job.status.attempt else 0
    event = Event(EventType.NORMAL, "Suspended", f"attempt {number} was stopped: {message}")
    return _Draft(
        Plan(patches=release(job.metadata.namespace, pods, now), events=(event,), requeue_after=POLL_ENDING), ended
    )


def _ended(job: TrainingJob, batch: Job, pods: tuple[Pod, ...], now: datetime) -> _Draft:
    if not all_over(pods, now):
        left = _named(pod.name for pod in pods if not pod.is_over)
        message = f"the attempt has ended; waiting for its last pods to terminate: {left}"
        ending = job.status.model_copy(update={"reason": Reason.ENDING, "message": message})
        return _Draft(Plan(requeue_after=POLL_ENDING), ending)
    problems = [cause for pod in pods if (cause := pod_cause(pod, now)) is not None]
    if batch.failed or problems:
        return _failed(job, pods, cause_of(batch, pods, now), None, now)
    chief = next((pod for pod in pods if pod.index == 0), None)
    if chief is None or chief.record is None:
        return _failed(job, pods, without_record(chief, now), None, now)
    return _trained(job, pods, chief.record, now)


def _trained(job: TrainingJob, pods: tuple[Pod, ...], record: Record, now: datetime) -> _Draft:
    """The end of the last attempt. With an output the intent to register it goes into status; `finish` does it."""
    if job.spec.output is not None and record.model is None and record.reason == Reason.AMBIGUOUS_MODEL:
        return _ambiguous(job, pods, record, now)
    if job.spec.output is not None and record.model is None:
        cause = Cause(
            FailureClass.CONFIG,
            Reason.MODEL_MISSING,
            f"the script trained, but no model was exported: {record.message or 'the launcher does not say why'}",
            now,
            pod=pods[0].name,
            exit_code=0,
            hint="read the error of the export in the pod's log (kubectl -n NAMESPACE logs POD -c trainer); a "
            "subclassed model may have to be built (called once) before it can be saved",
        )
        return _failed(job, pods, cause, None, now)
    status = attempts.end_succeeded(take_record(job.status, record), ended_at(pods, now))
    patches = release(job.metadata.namespace, pods, now)
    if job.spec.output is not None and record.model is not None:
        model = TrainedModel(
            name=model_name(job.metadata.namespace, job.spec.output.model),
            digest=record.model.digest,
            uri=record.model.uri,
        )
        exported = formats_exported(job, record, now)
        conditions = with_condition(without_condition(status.conditions, TRIAL_CONDITION), exported)
        if missing := missing_of_required(job, record):
            status = status.model_copy(update={"model": model, "conditions": conditions})
            return _format_missing(status, missing, exported.message or "", patches, now)
        status = status.model_copy(
            update={
                "state": State.FINISHING,
                "reason": Reason.JUDGING,
                "message": "the training has ended; checking spec.evaluation and registering the model in MLflow"
                if job.spec.evaluation
                else "the training has ended; registering the model in MLflow",
                "model": model,
                "conditions": conditions,
            }
        )
        return _Draft(Plan(patches=patches, events=event_of(exported), requeue_after=0.0), status)
    number = status.attempt.number if status.attempt else 0
    message = f"the training finished in attempt {number}"
    if job.spec.output is None:
        message += "; no model is registered, because spec.output is not set"
    status = status.model_copy(
        update={
            "state": State.SUCCEEDED,
            "reason": Reason.TRAINED,
            "message": message,
            "completion_time": now,
        }
    )
    events = (Event(EventType.NORMAL, "Succeeded", message),)
    return _Draft(Plan(patches=patches, events=events, requeue_after=POLL_ENDING), status)


def _format_missing(
    status: TrainingJobStatus, missing: tuple[str, ...], told: str, patches: tuple[Patch, ...], now: datetime
) -> _Draft:
    """A format without which the model is of no use was not made: nothing is registered, and the files are kept."""
    message = f"not registered: output.requiredFormats has {', '.join(missing)}; {told}"
    failure = Failure(
        class_=FailureClass.GATE,
        reason=Reason.REQUIRED_FORMAT_MISSING,
        message=message,
        attempt=status.attempt.number if status.attempt else None,
        hint=REQUIRED_FORMAT_HINT,
    )
    status = status.model_copy(update={"failure": failure})
    return _without_version(status, Reason.REQUIRED_FORMAT_MISSING, message, patches, now)


def _ambiguous(job: TrainingJob, pods: tuple[Pod, ...], record: Record, now: datetime) -> _Draft:
    """The script has trained several models, and named none: nothing is registered that nobody meant."""
    status = attempts.end_succeeded(take_record(job.status, record), ended_at(pods, now))
    message = f"not registered: {record.message}; {AMBIGUOUS_HINT}"
    patches = release(job.metadata.namespace, pods, now)
    return _without_version(status, Reason.AMBIGUOUS_MODEL, message, patches, now)


def _without_version(
    status: TrainingJobStatus, reason: str, message: str, patches: tuple[Patch, ...], now: datetime
) -> _Draft:
    """The job has succeeded, and its model does not become a version."""
    ended = {"state": State.SUCCEEDED, "reason": reason, "message": message, "completion_time": now}
    events = (Event(EventType.WARNING, reason, message[:1000]),)
    return _Draft(Plan(patches=patches, events=events, requeue_after=POLL_ENDING), status.model_copy(update=ended))


def _failed(job: TrainingJob, pods: tuple[Pod, ...], cause: Cause, batch: Job | None, now: datetime) -> _Draft:
    """Ends the attempt; `batch` names a Job that is still alive and has to go."""
    ended = ended_at(pods, now)
    status = attempts.end_failed(job, _take_chief_record(job.status, pods), cause, ended, now)
    deletes = (Delete(JOBS, job.metadata.namespace, batch.name, batch.uid),) if batch else ()
    reason = "AttemptFailed" if status.state == State.RESTARTING else "Failed"
    event = Event(EventType.WARNING, reason, f"{cause.failure_class.value}/{cause.reason}: {status.message}"[:1000])
    patches = release(job.metadata.namespace, pods, now)
    return _Draft(Plan(deletes=deletes, patches=patches, events=(event,), requeue_after=POLL_ENDING), status)


def _take_chief_record(status: TrainingJobStatus, pods: tuple[Pod, ...]) -> TrainingJobStatus:
    chief = next((pod for pod in pods if pod.index == 0 and pod.record is not None), None)
    return take_record(status, chief.record) if chief is not None and chief.record is not None else status


def _active(job: TrainingJob, batch: Job, pods: tuple[Pod, ...], observed: Observed, now: datetime) -> _Draft:
    live = observed.live
    events: tuple[Event, ...] = ()
    status = job.status.model_copy(update={"workers": tuple(_worker(pod) for pod in pods)})
    status = _take_image(status, pods)
    if lost := next((pod for pod in pods if is_lost(pod, now)), None):
        # The Job waits for the pod's end, of which nobody will ever tell it.
        message = (
            f"node {lost.node} does not respond, and pod {lost.name} on it should have terminated by now; the attempt "
            f"is ended; kubectl describe node {lost.node} shows the node's state"
        )
        return _stop(job, batch, message, Event(EventType.WARNING, Reason.NODE_LOST, message))
    if stayed := overstayed(pods, now):
        return _stop_sidecars(job.model_copy(update={"status": status}), batch, stayed)
    if waiting := waiting_for(pods, now) or _missing(job, batch, pods, observed.refusal, now):
        return _waiting(job.model_copy(update={"status": status}), batch, pods, waiting, now)
    chief = next((pod for pod in pods if pod.index == 0), None)
    if chief is None or not chief.node:
        state, reason, message = State.PENDING, Reason.WAITING_FOR_PODS, _what_is_placed(job, pods)
    elif chief.is_over:
        state, reason, message = State.RUNNING, Reason.ENDING, _what_goes_on(batch, pods)
    elif chief.deleted_at is not None:
        state, reason = State.RUNNING, Reason.ENDING
        message = f"pod {chief.name} was deleted; waiting for it to terminate"
    elif not chief.container_running:
        state, reason = State.STARTING, Reason.CREATING_CONTAINERS
        message = f"waiting for the containers of pod {chief.name} to start on node {chief.node}"
    elif live is None and status.state is State.RUNNING and status.reason in TOLD_REASONS:
        # One answer that was lost says nothing about the training.
        state, reason, message = status.state, status.reason, status.message or GOES_ON.get(status.reason, "")
    elif live is None:
        state, reason = State.RUNNING, Reason.PREPARING
        message = f"pod {chief.name} is running; waiting for the first report of its launcher (port {PROGRESS_PORT})"
    else:
        status = take_live(status, live)
        status, events = _take_trial(job, status, live, now)
        state, reason = State.RUNNING, PREPARE_REASONS.get(live.state, Reason.TRAINING)
        outages = [outage for (name, value), outage in OUTAGES.items() if live.conditions.get(name) == value]
        message = ("; ".join(text for _, text in outages) or GOES_ON[reason]) + _failed_before(status)
        reason = outages[0][0] if outages else reason
    requeue = POLL_RUNNING if state == State.RUNNING and live is not None else POLL_WAITING
    status = status.model_copy(update={"state": state, "reason": reason, "message": message})
    return _Draft(Plan(events=events, requeue_after=requeue), status)


def _take_trial(
    job: TrainingJob, status: TrainingJobStatus, live: Live, now: datetime
) -> tuple[TrainingJobStatus, tuple[Event, ...]]:
    """What the trial of the export has shown; a format that cannot be made is an Event once."""
    if live.export_trial is None or job.spec.output is None:
        return status, ()
    told = exportable(job, live.export_trial, now)
    is_known = any(old.type == told.type and old.message == told.message for old in status.conditions)
    conditions = with_condition(status.conditions, told)
    return status.model_copy(update={"conditions": conditions}), () if is_known else event_of(told)


def _failed_before(status: TrainingJobStatus) -> str:
    """Why this attempt is not the first one: a script that fails each time is seen before its last restart."""
    failure = status.failure
    if failure is None or failure.attempt is None or status.attempt is None or failure.attempt >= status.attempt.number:
        return ""
    how = "was disrupted" if failure.class_ is FailureClass.DISRUPTED else "failed"
    return f"; attempt {failure.attempt} {how}: {failure.reason}: {(failure.message or '')[:_SHOWN_OF_FAILURE]}"


def _missing(job: TrainingJob, batch: Job, pods: tuple[Pod, ...], refusal: str, now: datetime) -> Waiting | None:
    """The Job controller could not make all the pods, and says so in an Event only."""
    wanted = job.spec.strategy.workers
    # A pod that was there and is gone is another matter: that fails the Job.
    is_late = batch.started_at is not None and now >= batch.started_at + PODS_MADE_WITHIN
    if not refusal or len(pods) >= wanted or not is_late:
        return None
    message = f"{len(pods)} of {wanted} pods of Job {batch.name} were created: {refusal}"
    return Waiting(FailureClass.CONFIG, Reason.PODS_REFUSED, message, "")


def _what_is_placed(job: TrainingJob, pods: tuple[Pod, ...]) -> str:
    wanted, placed = job.spec.strategy.workers, sum(bool(pod.node) for pod in pods)
    return f"waiting for the pods: {len(pods)} of {wanted} are created, {placed} of {wanted} are scheduled to a node"


def _what_goes_on(batch: Job, pods: tuple[Pod, ...]) -> str:
    """What an attempt waits for whose chief ended."""
    pod = held_up(pods)
    side = pod.held_up_by if pod is not None else None
    if pod is not None and side is not None:
        wait = f"{SIDE_GRACE.total_seconds():.0f} s"
        return (
            f"the training has ended; waiting up to {wait} for container {side.name!r} of pod {pod.name} to exit; "
            f"{SIDECAR_HINT}"
        )
    if left := _named(pod.name for pod in pods if not pod.is_over):
        return f"worker 0 has ended; waiting for the other workers: {left}"
    return f"all workers have ended; waiting for Kubernetes to mark Job {batch.name} as Complete or Failed"


def _stop_sidecars(job: TrainingJob, batch: Job, pod: Pod) -> _Draft:
    """Only a side container goes on, nothing more can come of the attempt; its trainers' records tell how it ended."""
    name = pod.held_up_by.name if pod.held_up_by else ""
    message = (
        f"the training has ended, but container {name!r} still runs {SIDE_GRACE.total_seconds():.0f} s later: its "
        f"pod is being deleted; {SIDECAR_HINT}"
    )
    return _stop(job, batch, message, Event(EventType.WARNING, "SideContainerStopped", f"pod {pod.name}: {message}"))


def _waiting(job: TrainingJob, batch: Job, pods: tuple[Pod, ...], waiting: Waiting, now: datetime) -> _Draft:
    """Pods that cannot start: until the start deadline where there is one, or not at all where waiting helps nobody."""
    assert job.status.attempt is not None
    since = max(filter(None, (batch.started_at, job.status.attempt.started_at)), default=now)
    limit = start_deadline(job.spec, waiting.failure_class, waiting.message)
    ends = since + timedelta(seconds=limit) if limit is not None else None
    left = (ends - now).total_seconds() if ends is not None else POLL_RUNNING
    if waiting.hopeless or left <= 0:
        cause = Cause(waiting.failure_class, waiting.reason, waiting.message, now, waiting.pod)
        return _failed(job, pods, cause, batch, now)
    state = State.QUEUED if waiting.failure_class is FailureClass.SCHEDULING else State.STARTING
    until = NO_TIME_LIMIT if ends is None else f"the TrainingJob fails at {shown(ends)} if this lasts"
    message = _with_advice(job, waiting.message, waiting.reason, until, waiting.pod)
    status = job.status.model_copy(update={"state": state, "reason": waiting.reason, "message": message[:1024]})
    about = f"pod {waiting.pod}: " if waiting.pod else ""
    event = Event(EventType.WARNING, waiting.reason, f"{about}{waiting.message[:700]}")
    events = _unless_told(job.status, status, event)
    return _Draft(Plan(events=events, requeue_after=min(POLL_RUNNING, max(left, 0.5))), status)


def _worker(pod: Pod) -> Worker:
    return Worker(index=pod.index, pod=pod.name, phase=pod.waiting_reason or pod.phase.value, node=pod.node or None)


def _take_image(status: TrainingJobStatus, pods: tuple[Pod, ...]) -> TrainingJobStatus:
    image_id = next((pod.image_id for pod in pods if pod.image_id), None)
    if image_id is None or status.attempt is None or status.attempt.image_id == image_id:
        return status
    return status.model_copy(update={"attempt": status.attempt.model_copy(update={"image_id": image_id})})
