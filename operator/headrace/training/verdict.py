"""What became of a model, as the status and the Event that tell it (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from headrace.api.scalars import format_decimal
from headrace.api.trainingjob import FailureClass, Gate, State, TrainingJob, TrainingJobStatus
from headrace.kube.plan import Event, EventType
from headrace.labels import TRIAL_OF
from headrace.sentences import joined
from headrace.tracking.errors import (
    AliasReserved,
    ModelNameTaken,
    TrackingError,
    TrackingForbidden,
    VersionMismatch,
)
from headrace.tracking.records import ModelVersion
from headrace.training.attempt import failure_of_model
from headrace.training.baseline import not_compared
from headrace.training.divergence import HINT
from headrace.training.judging import Judgement, advice, metrics_of_model, missed
from headrace.training.states import Reason
from headrace.training.tuning.trial import objective_of
from headrace_common.tags import MODEL_REASON_TAG, MODEL_TAG

# What to do where the registry holds something that a person has to look at.
HINTS: Mapping[str, str] = {
    Reason.DIGEST_MISMATCH: "the run or the model's files were changed after the training: find out who else writes to "
    "this experiment and bucket, then create a new TrainingJob",
    VersionMismatch.reason: "delete that version in MLflow, then create a new TrainingJob",
    ModelNameTaken.reason: "use another spec.output.model in a new TrainingJob",
    TrackingForbidden.reason: "MLflow refuses the operator's credentials: correct the Secret that the chart's "
    "mlflow.existingSecret names (otherwise headrace-mlflow), then create a new TrainingJob",
}
HINT_OTHERWISE = "MLflow refused the registration: its log says more; then create a new TrainingJob"


@dataclass(frozen=True)
class Verdict:
    """What became of the model: the status without the model's own part, and the Event that tells it."""

    status: TrainingJobStatus
    event: Event


def registered(
    job: TrainingJob, judged: Judgement, version: ModelVersion, reserved: AliasReserved | None, now: datetime
) -> Verdict:
    """The model is a version, and `output.alias` points at it, unless that is `reserved` or waits for an approval."""
    status, output, gate, diverged = job.status, job.spec.output, judged.gate, judged.diverged
    assert status.model is not None
    assert output is not None
    reason = Reason.GATE_PASSED if gate else Reason.REGISTERED
    alias = None if output.needs_approval else output.alias
    compared = not_compared(job)
    note = f"; the training diverged ({diverged} at its end), and no gate asks for it" if diverged else ""
    if compared is not None and compared.is_suspect:
        # A gate has passed that may not have been judged at all: not what GatePassed says.
        reason, note = Reason.BASELINE_NOT_FOUND, f"{note}; {compared.message}"
    if reserved is not None:
        # The model is good and registered; only the alias is not to be had.
        reason, note, alias = reserved.reason, f"{note}; {reserved}", None
    pointed = f", alias {alias} points at it" if alias else ""
    why = judged.run.tags.get(MODEL_REASON_TAG, "")
    which = f", {judged.run.tags.get(MODEL_TAG)}: {why}" if why else ""
    message = f"registered as version {version.version} of model {version.model}{pointed}{which}{note}"
    if compared is not None and not compared.is_suspect:
        message = f"{message}; {compared.message}"
    done = status.evolve(
        state=State.SUCCEEDED,
        reason=reason,
        message=message,
        model=status.model.evolve(version=version.version, gate=gate, alias=alias),
        metrics=judged.metrics,
        completion_time=now,
    )
    return Verdict(done, Event(EventType.WARNING if note else EventType.NORMAL, "Registered", message))


def tried(job: TrainingJob, judged: Judgement, now: datetime) -> Verdict:
    """The job is a trial: its model is kept, and the job that it belongs to does with it what is to be done."""
    status, objective = job.status, objective_of(job)
    assert status.model is not None
    value = metrics_of_model(judged.run).get(objective)
    measured = {} if value is None else {objective: format_decimal(value)}
    # The first are kept where there are too many.
    metrics = {**measured, **judged.metrics, **measured}
    said = f"{objective} is {metrics[objective]}" if objective in metrics else f"no {objective} was logged"
    message = f"the trial has ended: {said}; its model is kept at {status.model.uri}"
    done = status.evolve(
        state=State.SUCCEEDED, reason=Reason.TRIAL_ENDED, message=message, metrics=metrics, completion_time=now
    )
    return Verdict(done, Event(EventType.NORMAL, Reason.TRIAL_ENDED, message[:1000]))


def orphaned(job: TrainingJob, judged: Judgement, now: datetime) -> Verdict:
    """The job was a trial, and whoever deleted the one that it belonged to has kept it: nobody has asked for a version
    of it, and the gates of the whole job are not its own.
    """
    ended = tried(job, judged, now).status
    message = (
        f"not registered: it was a trial of {job.metadata.labels[TRIAL_OF]}, which is gone; its model is kept at "
        f"{ended.model.uri if ended.model else ''}; for a version create a TrainingJob with its parameters"
    )
    done = ended.evolve(reason=Reason.TRIAL_ORPHANED, message=message)
    return Verdict(done, Event(EventType.WARNING, Reason.TRIAL_ORPHANED, message[:1000]))


def not_met(status: TrainingJobStatus, judged: Judgement, gate: Gate, now: datetime) -> Verdict:
    """A gate has not passed: the job has succeeded, and its model does not become a version."""
    assert status.model is not None
    diverged = judged.diverged
    said = f"not registered: {missed(judged)}" + (f"; the training diverged: {diverged}" if diverged else "")
    hint = HINT if diverged else advice(judged)
    message = joined(said, hint)
    failure = failure_of_model(status, FailureClass.GATE, Reason.GATE_FAILED, said, hint)
    done = status.evolve(
        state=State.SUCCEEDED,
        reason=Reason.GATE_FAILED,
        message=message,
        model=status.model.evolve(gate=gate),
        metrics=judged.metrics,
        failure=failure,
        completion_time=now,
    )
    return Verdict(done, Event(EventType.WARNING, Reason.GATE_FAILED, message))


def refused(status: TrainingJobStatus, error: TrackingError, now: datetime) -> Verdict:
    """The registry holds something that a person has to look at."""
    hint = f"{HINTS.get(error.reason, HINT_OTHERWISE)}; the run and the model's files are kept"
    failure = failure_of_model(status, FailureClass.TRACKING, error.reason, str(error), hint)
    message = joined(f"not registered: {error}", hint)
    failed = status.evolve(
        state=State.FAILED, reason=error.reason, message=message, failure=failure, completion_time=now
    )
    return Verdict(failed, Event(EventType.WARNING, error.reason, message))
