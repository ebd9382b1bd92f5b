"""The stage Prepare has come to its end: the dataset that it left goes into status, and the training may begin (pure).

The record is a claim of user code. Where the dataset lies is not taken from it: that follows from the tenant's bucket,
the name and the digest, and the training's own launcher compares the digest.
"""

from __future__ import annotations

from dataclasses import replace

from headrace.api.trainingjob import FailureClass, PreparedDataset, State
from headrace.kube.plan import Event, EventType, Plan
from headrace.training import attempt as attempts
from headrace.training.failures import Cause
from headrace.training.observed import ended_at
from headrace.training.phases.cannot_begin import wait_to_begin
from headrace.training.phases.failed import failed
from headrace.training.release import release
from headrace.training.stage_status import end_stage
from headrace.training.stages import datasets_uri
from headrace.training.states import Reason
from headrace.training.status import take_record
from headrace.training.step import Step
from headrace.training.view import View
from headrace_common.protocol.parts import DatasetReference
from headrace_common.protocol.report import Record


def prepared(view: View, record: Record) -> Step:
    """The next look begins the training with what `record` says."""
    made = record.dataset
    if made is None or made.name != view.part.makes:
        return failed(view, _missing(view, made))
    if (problem := view.start.problem) is not None:  # it is known where the dataset lies once there is a tenant again
        return wait_to_begin(view, replace(problem, patient=True))
    ended = ended_at(view.pods, view.now)
    taken = attempts.end_succeeded(take_record(view.status, record), Reason.PREPARED, ended)
    # What the launcher has warned of, such as personal data that is left.
    message = f"{_what_was_made(made)}; {record.message}" if record.message else _what_was_made(made)
    status = end_stage(view.job, taken, message, ended, reused=True if made.reused else None).evolve(
        state=State.PENDING,
        reason=Reason.PREPARED,
        message=f"{message}; the training is started next",
        dataset=PreparedDataset(
            name=made.name,
            uri=f"{datasets_uri(view.start.bucket, made.name)}/{made.digest.removeprefix('sha256:')}/",
            digest=made.digest,
            files=made.files,
            bytes=made.bytes,
            made_by=made.made_by or None,
            reused=made.reused,
        ),
    )
    patches = release(view.job.metadata.namespace, view.pods, view.now)
    return Step(Plan(patches=patches, events=(_event(message[:1000]),), requeue_after=0.0), status)


def _event(message: str) -> Event:
    return Event(EventType.NORMAL, Reason.PREPARED, message)


def _what_was_made(made: DatasetReference) -> str:
    what = f"{made.files} files of {made.bytes} bytes, {made.digest}"
    if made.reused:
        by = f"TrainingJob {made.made_by}" if made.made_by else "an earlier TrainingJob"
        return f"dataset {made.name} was made before, by {by}, and is used again: {what}; no script was run"
    return f"dataset {made.name} is prepared: {what}"


def _missing(view: View, made: DatasetReference | None) -> Cause:
    found = "names no dataset" if made is None else f"names {made.name}"
    message = f"the launcher reports success, and its record {found}; dataset {view.part.makes} was asked for"
    return Cause(FailureClass.CONFIG, Reason.NO_DATASET, message, view.now, pod=view.pods[0].name, exit_code=0)
