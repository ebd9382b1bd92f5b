"""The last attempt has trained to its end: what becomes of its model (pure).

With an output the intent to register it goes into status; `finish` does it, after the stage Evaluate if there is one.
Without one, or where there is nothing that somebody has meant, the job has succeeded here.
"""

from __future__ import annotations

from headrace.api.evaluate import SERVED
from headrace.api.trainingjob import (
    Condition,
    Evaluate,
    EvaluationStatus,
    FailureClass,
    Output,
    State,
    TrainedModel,
    TrainingJobStatus,
)
from headrace.kube.plan import Event, EventType, Patch, Plan
from headrace.tracking.ledger import model_name
from headrace.training import attempt as attempts
from headrace.training.failures import Cause
from headrace.training.formats import (
    TRIAL_CONDITION,
    event_of,
    format_to_judge,
    formats_exported,
    missing_of_required,
    with_condition,
    without_condition,
)
from headrace.training.observed import ended_at
from headrace.training.phases.failed import failed
from headrace.training.release import release
from headrace.training.stage_status import end_stage
from headrace.training.states import Reason
from headrace.training.status import take_record
from headrace.training.step import POLL_ENDING, Step
from headrace.training.tuning.trial import is_trial
from headrace.training.view import View
from headrace_common.protocol.parts import ModelReference
from headrace_common.protocol.report import Record

AMBIGUOUS_HINT = (
    "name the model in the script, with headrace_client.export(model), or call model.evaluate on it last, and create a "
    "new TrainingJob"
)
MODEL_MISSING_HINT = (
    "read the error of the export in the pod's log (kubectl -n NAMESPACE logs POD -c trainer); a subclassed model may "
    "have to be built (called once) before it can be saved"
)
REQUIRED_FORMAT_HINT = (
    "change the layer that the message names, or take the format out of output.requiredFormats or evaluate.format, in "
    "a new TrainingJob; what was exported is kept at status.model.uri"
)


def trained(view: View, record: Record) -> Step:
    """What the chief's record of a success comes to."""
    output = view.job.spec.output
    if output is None:
        return _succeeded(view, record)
    if record.model is not None:
        return _to_be_registered(view, record, record.model, output)
    if record.reason == Reason.AMBIGUOUS_MODEL:
        # The script has trained several models, and named none: nothing is registered that nobody meant.
        message = f"not registered: {record.message}; {AMBIGUOUS_HINT}"
        return _without_version(view, _ended(view, record), Reason.AMBIGUOUS_MODEL, message)
    return failed(view, _model_missing(view, record))


def _ended(view: View, record: Record) -> TrainingJobStatus:
    return attempts.end_succeeded(take_record(view.status, record), Reason.TRAINED, ended_at(view.pods, view.now))


def _succeeded(view: View, record: Record) -> Step:
    status = _ended(view, record)
    number = status.attempt.number if status.attempt else 0
    message = f"the training finished in attempt {number}; no model is registered, because spec.output is not set"
    done = status.evolve(state=State.SUCCEEDED, reason=Reason.TRAINED, message=message, completion_time=view.now)
    event = Event(EventType.NORMAL, "Succeeded", message)
    return Step(Plan(patches=_released(view), events=(event,), requeue_after=POLL_ENDING), done)


def _to_be_registered(view: View, record: Record, reference: ModelReference, output: Output) -> Step:
    job, status = view.job, _ended(view, record)
    exported = formats_exported(job, record, view.now)
    with_model = status.evolve(
        model=TrainedModel(
            name=model_name(job.metadata.namespace, output.model),
            digest=reference.digest,
            uri=reference.uri,
            formats=reference.formats if is_trial(job) else None,
        ),
        conditions=with_condition(without_condition(status.conditions, TRIAL_CONDITION), exported),
    )
    if missing := missing_of_required(job, record):
        return _format_missing(view, with_model, missing, exported.message or "")
    if job.spec.evaluate is not None:
        return _to_be_evaluated(view, with_model, job.spec.evaluate, reference.formats, exported)
    finishing = with_model.evolve(
        state=State.FINISHING,
        reason=Reason.JUDGING,
        message="the trial has ended; comparing its run with its model"
        if is_trial(job)
        else "the training has ended; checking spec.evaluation and registering the model in MLflow"
        if job.spec.evaluation
        else "the training has ended; registering the model in MLflow",
    )
    return Step(Plan(patches=_released(view), events=event_of(exported), requeue_after=0.0), finishing)


def _to_be_evaluated(
    view: View, status: TrainingJobStatus, evaluate: Evaluate, made: tuple[str, ...], exported: Condition
) -> Step:
    """The next look begins the evaluation of these bytes."""
    judged = format_to_judge(evaluate, made)
    if judged is None:
        message = f"not registered: evaluate judges {evaluate.format or ' or '.join(SERVED)}; {exported.message}"
        return ended_without_format(view, status, message)
    message = f"the training has ended; its model is kept at {status.model.uri if status.model else ''}"
    following = end_stage(view.job, status, message, ended_at(view.pods, view.now), reused=None).evolve(
        state=State.PENDING,
        reason=Reason.TRAINED,
        message=f"{message}; the evaluation is started next",
        evaluation=EvaluationStatus(format=judged or None),
    )
    return Step(Plan(patches=_released(view), events=event_of(exported), requeue_after=0.0), following)


def _format_missing(view: View, status: TrainingJobStatus, missing: tuple[str, ...], told: str) -> Step:
    """A format without which the model is of no use was not made: nothing is registered, and the files are kept."""
    return ended_without_format(
        view, status, f"not registered: output.requiredFormats has {', '.join(missing)}; {told}"
    )


def ended_without_format(view: View, status: TrainingJobStatus, message: str) -> Step:
    """The job has succeeded, and its model is kept where it is."""
    reason = Reason.REQUIRED_FORMAT_MISSING
    failure = attempts.failure_of_model(status, FailureClass.GATE, reason, message, REQUIRED_FORMAT_HINT)
    return _without_version(view, status.evolve(failure=failure), reason, message)


def _without_version(view: View, status: TrainingJobStatus, reason: str, message: str) -> Step:
    """The job has succeeded, and its model does not become a version."""
    done = status.evolve(state=State.SUCCEEDED, reason=reason, message=message, completion_time=view.now)
    event = Event(EventType.WARNING, reason, message[:1000])
    return Step(Plan(patches=_released(view), events=(event,), requeue_after=POLL_ENDING), done)


def _model_missing(view: View, record: Record) -> Cause:
    return Cause(
        FailureClass.CONFIG,
        Reason.MODEL_MISSING,
        f"the script trained, but no model was exported: {record.message or 'the launcher does not say why'}",
        view.now,
        pod=view.pods[0].name,
        exit_code=0,
        hint=MODEL_MISSING_HINT,
    )


def _released(view: View) -> tuple[Patch, ...]:
    return release(view.job.metadata.namespace, view.pods, view.now)
