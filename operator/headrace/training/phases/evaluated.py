"""The stage Evaluate has come to its end: what it has judged goes into status, and the gates are judged next (pure).

The record is a claim of user code. That these bytes were judged is compared once more with the tags of the stage's run,
in `finish`.
"""

from __future__ import annotations

from headrace.api.trainingjob import EvaluationStatus, FailureClass, State
from headrace.kube.plan import Plan
from headrace.training import attempt as attempts
from headrace.training.baseline import compared
from headrace.training.explained import explained
from headrace.training.failures import Cause
from headrace.training.observed import ended_at
from headrace.training.phases.failed import failed
from headrace.training.release import release
from headrace.training.states import Reason
from headrace.training.status import take_record
from headrace.training.step import Step
from headrace.training.view import View
from headrace_common.protocol.report import Record


def evaluated(view: View, record: Record) -> Step:
    """The next look judges the gates and registers the model."""
    told, status = record.evaluation, view.status
    known = status.evaluation or EvaluationStatus()
    if told is None:
        message = "the launcher reports success, and its record does not say what was judged"
        return failed(view, _cause(view, FailureClass.CONFIG, Reason.NO_EVALUATION, message))
    if (digest := (status.model.digest if status.model else None)) != told.digest:
        message = f"a model with digest {told.digest} was judged, and the training has made {digest}"
        return failed(view, _cause(view, FailureClass.DATA, Reason.EVALUATED_MODEL_CHANGED, message))
    if (known.baseline.digest if known.baseline else "") != told.baseline_digest:
        wanted = f"version {known.baseline.version} has {known.baseline.digest}" if known.baseline else "there is none"
        message = f"a baseline with digest {told.baseline_digest or 'none'} was compared with, and {wanted}"
        return failed(view, _cause(view, FailureClass.DATA, Reason.BASELINE_UNREADABLE, message))
    taken = take_record(status, record).evolve(evaluation=known.evolve(samples=told.samples or None))
    ended = attempts.end_succeeded(taken, Reason.EVALUATED, ended_at(view.pods, view.now))
    said, events = explained(view.job, compared(view.job, ended, view.now), record, view.now)
    finishing = said.evolve(
        state=State.FINISHING,
        reason=Reason.JUDGING,
        message=f"the model was evaluated{_rows(told.samples)}; checking the gates and registering it in MLflow",
    )
    patches = release(view.job.metadata.namespace, view.pods, view.now)
    return Step(Plan(patches=patches, events=events, requeue_after=0.0), finishing)


def _rows(samples: int) -> str:
    """Nobody knows of how many the user's own program has judged."""
    return f" on {samples} rows" if samples else ""


def _cause(view: View, failure_class: FailureClass, reason: str, message: str) -> Cause:
    return Cause(failure_class, reason, message, view.now, pod=view.pods[0].name, exit_code=0)
