"""Plans one pass over a TrainingJob: from spec, status and what the cluster shows to the next status and acts (pure).

The flow of a TrainingJob reads from top to bottom in `plan`: over -> ending -> not started -> under way.
Invariants: the attempt is written into status before its Job is created (a killed operator finds its way from there); a
cause is taken only when no pod of the attempt can still change its record; pods are released after their record is in
status; only ended attempts' time counts against the deadline, which the Job of the one under way keeps by itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from headrace.api.trainingjob import (
    Attempt,
    ConditionStatus,
    FailureClass,
    Run,
    SourceStatus,
    State,
    TrainedModel,
    TrainingJob,
    TrainingJobStatus,
    Worker,
)
from headrace.kube.errors import Refused
from headrace.kube.plan import Delete, Event, EventType, Plan
from headrace.kube.resources import CONFIGMAPS, JOBS, NETWORKPOLICIES, SERVICES, TRAININGJOBS
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
    is_lost,
    pod_cause,
    waiting_for,
    without_record,
)
from headrace.training.formats import event_of, formats_exported
from headrace.training.job import (
    AttemptContext,
    attempt_name,
    remaining_seconds,
    render_job,
    render_network_policy,
    render_service,
    render_source,
)
from headrace.training.observed import Job, Observed, Pod, ended_at
from headrace.training.record import Record
from headrace.training.release import release
from headrace.training.sidecars import HINT as SIDECAR_HINT
from headrace.training.sidecars import held_up, overstayed, record_of_success
from headrace.training.states import FINAL_STATES, Reason
from headrace.training.status import finish_status, numbers, take_live, take_record

POLL_RUNNING = 5.0
POLL_WAITING = 2.0
POLL_ENDING = 1.0
# The Job controller makes pods at once; after this long something keeps it from it.
PODS_MADE_WITHIN = timedelta(seconds=3)
PREPARE_REASONS = {
    "Preparing": Reason.PREPARING,
    "Exporting": Reason.EXPORTING,
    "Uploading": Reason.UPLOADING,
}
# What the launcher says of its surroundings: training goes on, but whoever looks is to know.
OUTAGES = {
    ("tracking", "RunDeleted"): (
        Reason.RUN_DELETED,
        "the run was deleted in MLflow, by itself or with its experiment: training goes on, metrics wait in the pod; "
        "restore it there (the runs' page, filter by state Deleted, or `mlflow runs restore`)",
    ),
    ("tracking", "Buffering"): (
        Reason.TRACKING_UNAVAILABLE,
        "MLflow does not answer and is asked again: training goes on, metrics wait in the pod; look at the MLflow "
        "server",
    ),
    ("storage", "Buffering"): (
        Reason.STORAGE_UNAVAILABLE,
        "S3 does not answer and is asked again: datasets are waited for, checkpoints and the model wait in the pod; "
        "look at the store, and at the endpoint in the storage Secret",
    ),
}
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
                "message": "set spec.suspend to false to go on",
            }
        )
        return _Draft(Plan(patches=patches), suspended)
    if status.next_attempt_at is not None and now < status.next_attempt_at:
        left = (status.next_attempt_at - now).total_seconds()
        return _Draft(Plan(patches=patches, requeue_after=max(left, 0.05)), status)
    if not all_over((*observed.pods, *observed.strangers), now):
        # Two attempts at once would write over each other; the old pods are let go first.
        return _Draft(Plan(patches=patches, requeue_after=POLL_ENDING), status)
    taken = observed.job(attempt_name(job.metadata.name, (status.attempt.number if status.attempt else 0) + 1))
    if observed.strangers or (taken is not None and taken.owner_uid != job.metadata.uid):
        message = "an earlier job of this name is still being removed; it is waited for"
        waiting = status.model_copy(update={"state": State.PENDING, "reason": Reason.NAME_IN_USE, "message": message})
        return _Draft(Plan(patches=patches, requeue_after=POLL_ENDING), waiting)
    draft = _wait_or_begin(job, observed, start, now, settings)
    return replace(draft, plan=replace(draft.plan, patches=patches))


def _wait_or_begin(job: TrainingJob, observed: Observed, start: Start, now: datetime, settings: Settings) -> _Draft:
    remaining = remaining_seconds(job)
    if remaining is not None and remaining <= 0:
        message = f"the attempts took the {job.spec.active_deadline_seconds} s of activeDeadlineSeconds"
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
    """What is missing may be made a moment after the job: it is waited for until the start deadline."""
    waited = (now - _waits_since(job, now)).total_seconds()
    limit = start_deadline(job.spec, problem.failure_class, problem.message)
    if not problem.patient and limit is not None and waited > limit:
        return _fail_to_begin(job, Cause(problem.failure_class, problem.reason, problem.message, now), now)
    hint = HINTS.get(problem.reason, "")
    message = f"{problem.message}; {hint}" if hint else problem.message
    waiting = job.status.model_copy(update={"state": State.PENDING, "reason": problem.reason, "message": message})
    events = _unless_told(job.status, waiting, Event(EventType.WARNING, problem.reason, message))
    return _Draft(Plan(events=events, requeue_after=POLL_WAITING), waiting)


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
    image = (spec.source.image or spec.image) or (status.attempt.image if status.attempt else settings.trainer_image)
    begun = status.model_copy(
        update={
            "state": State.PENDING,
            "reason": Reason.WAITING_FOR_PODS,
            "message": f"attempt {number} begins",
            "attempt": Attempt(number=number, job=attempt_name(job.metadata.name, number), image=image, started_at=now),
            "start_time": status.start_time or now,
            "next_attempt_at": None,
            "run": _expected_run(status, start),
            "source": _pinned_source(job, observed),
        }
    )
    event = Event(
        EventType.NORMAL, "AttemptStarted", f"attempt {number} with {spec.strategy.workers} worker(s) of {image}"
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
        image=status.attempt.image or settings.trainer_image,
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
        message = f"Job {batch.name!r} of another owner is in the way; it is waited for"
        waiting = status.model_copy(update={"state": State.PENDING, "reason": Reason.NAME_IN_USE, "message": message})
        return _Draft(Plan(requeue_after=POLL_WAITING), waiting)
    status = _take_job(status, batch)
    job = job.model_copy(update={"status": status})
    if batch.complete or batch.failed:
        return _ended(job, batch, pods, now)
    if batch.suspended and batch.started_at is None and not pods:
        queued = status.model_copy(
            update={
                "state": State.QUEUED,
                "reason": Reason.WAITING_FOR_QUOTA,
                "message": "the queue has not admitted it yet",
            }
        )
        return _Draft(Plan(requeue_after=POLL_RUNNING), queued) if not job.spec.suspend else _suspend(job, batch)
    if job.spec.suspend or batch.suspended or batch.deleting:
        return _suspend(job, batch)
    return _active(job, batch, pods, observed, now)


def _begin_again(job: TrainingJob, observed: Observed, start: Start, now: datetime, settings: Settings) -> _Draft:
    """The attempt is in status, its Job was not made: the operator died in between, or the API server refused it.

    What held when the attempt began may not hold any more.
    """
    if problem := _source_problem(job, observed) or start.problem:
        return _wait_to_begin(job, problem, now)
    assert job.status.attempt is not None
    if job.status.reason == Reason.REFUSED:  # which it is until it is taken
        return _create(job, observed, start, settings)
    message = f"attempt {job.status.attempt.number} begins"
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
    return _stop(job, batch, "the pods are being stopped")


def _stop(job: TrainingJob, batch: Job, message: str, *events: Event) -> _Draft:
    """Ends the attempt's Job; once its pods are over the attempt ends (`batch is None` above)."""
    metadata = job.metadata
    deletes = () if batch.deleting else (Delete(JOBS, metadata.namespace, batch.name, batch.uid),)
    ending = job.status.model_copy(update={"reason": Reason.ENDING, "message": message})
    return _Draft(Plan(deletes=deletes, events=events, requeue_after=POLL_ENDING), ending)


def _suspended(job: TrainingJob, pods: tuple[Pod, ...], now: datetime) -> _Draft:
    status = _take_chief_record(job.status, pods)
    message = "set spec.suspend to false to go on from the last checkpoint"
    ended = attempts.end_suspended(status, Reason.SUSPENDED_BY_USER, message, ended_at(pods, now))
    event = Event(
        EventType.NORMAL, "Suspended", f"attempt {job.status.attempt.number if job.status.attempt else 0} was stopped"
    )
    return _Draft(
        Plan(patches=release(job.metadata.namespace, pods, now), events=(event,), requeue_after=POLL_ENDING), ended
    )


def _ended(job: TrainingJob, batch: Job, pods: tuple[Pod, ...], now: datetime) -> _Draft:
    if not all_over(pods, now):
        ending = job.status.model_copy(update={"reason": Reason.ENDING, "message": "waits for the last pods' records"})
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
    if job.spec.output is not None and record.model is None:
        cause = Cause(
            FailureClass.CONFIG,
            Reason.MODEL_MISSING,
            f"the script trained, but no model was exported: {record.message or 'the launcher does not say why'}",
            now,
            pod=pods[0].name,
            exit_code=0,
            hint="look at the pod's log for the export's error; a custom model may need to be built before it is saved",
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
        status = status.model_copy(
            update={
                "state": State.FINISHING,
                "reason": Reason.JUDGING,
                "message": "the model is being judged and registered",
                "model": model,
                "conditions": (*(c for c in status.conditions if c.type != exported.type), exported),
            }
        )
        return _Draft(Plan(patches=patches, events=event_of(exported), requeue_after=0.0), status)
    number = status.attempt.number if status.attempt else 0
    message = f"trained to the end in attempt {number}"
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
    status = job.status.model_copy(update={"workers": tuple(_worker(pod) for pod in pods)})
    status = _take_image(status, pods)
    if lost := next((pod for pod in pods if is_lost(pod, now)), None):
        # The Job waits for the pod's end, of which nobody will ever tell it.
        message = f"node {lost.node} does not answer for pod {lost.name}, which was to end: the attempt is given up"
        return _stop(job, batch, message, Event(EventType.WARNING, Reason.NODE_LOST, message))
    if stayed := overstayed(pods, now):
        return _stop_sidecars(job.model_copy(update={"status": status}), batch, stayed)
    if waiting := waiting_for(pods, now) or _missing(job, batch, pods, observed.refusal, now):
        return _waiting(job.model_copy(update={"status": status}), batch, pods, waiting, now)
    chief = next((pod for pod in pods if pod.index == 0), None)
    if chief is None or not chief.node:
        state, reason, message = State.PENDING, Reason.WAITING_FOR_PODS, "the pods are being created"
    elif chief.is_over:
        state, reason, message = State.RUNNING, Reason.ENDING, _what_goes_on(pods)
    elif chief.deleted_at is not None:
        state, reason, message = State.RUNNING, Reason.ENDING, f"pod {chief.name} was deleted and is to end"
    elif not chief.container_running:
        state, reason, message = State.STARTING, Reason.CREATING_CONTAINERS, f"on node {chief.node}"
    elif live is None and status.state is State.RUNNING and status.reason in TOLD_REASONS:
        # One answer that was lost says nothing about the training.
        state, reason, message = status.state, status.reason, status.message or ""
    elif live is None:
        state, reason, message = State.RUNNING, Reason.PREPARING, "the launcher has not answered yet"
    else:
        status = take_live(status, live)
        state, reason = State.RUNNING, PREPARE_REASONS.get(live.state, Reason.TRAINING)
        outages = [outage for (name, value), outage in OUTAGES.items() if live.conditions.get(name) == value]
        reason = outages[0][0] if outages else reason
        message = "; ".join(text for _, text in outages)
    requeue = POLL_RUNNING if state == State.RUNNING and live is not None else POLL_WAITING
    status = status.model_copy(update={"state": state, "reason": reason, "message": message})
    return _Draft(Plan(requeue_after=requeue), status)


def _missing(job: TrainingJob, batch: Job, pods: tuple[Pod, ...], refusal: str, now: datetime) -> Waiting | None:
    """The Job controller could not make all the pods, and says so in an Event only."""
    wanted = job.spec.strategy.workers
    # A pod that was there and is gone is another matter: that fails the Job.
    is_late = batch.started_at is not None and now >= batch.started_at + PODS_MADE_WITHIN
    if not refusal or len(pods) >= wanted or not is_late:
        return None
    message = f"{len(pods)} of {wanted} pods of Job {batch.name} were made: {refusal}"
    return Waiting(FailureClass.CONFIG, Reason.PODS_REFUSED, message, "")


def _what_goes_on(pods: tuple[Pod, ...]) -> str:
    """What an attempt waits for whose chief ended."""
    pod = held_up(pods)
    side = pod.held_up_by if pod is not None else None
    if pod is None or side is None:
        return "waits for the other workers, and for the Job to end"
    return f"waits a minute for container {side.name!r} of pod {pod.name}; {SIDECAR_HINT}"


def _stop_sidecars(job: TrainingJob, batch: Job, pod: Pod) -> _Draft:
    """Only a side container goes on, nothing more can come of the attempt; its trainers' records tell how it ended."""
    name = pod.held_up_by.name if pod.held_up_by else ""
    message = f"the training is over and container {name!r} is not: the pods are being stopped; {SIDECAR_HINT}"
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
    hint = HINTS.get(waiting.reason, "")
    until = f"until {ends:%H:%M:%S} UTC" if ends is not None else "as long as it takes"
    message = f"{waiting.message[:700]}; waits {until}{'; ' + hint if hint else ''}"
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
