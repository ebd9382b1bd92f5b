"""An attempt begins: it is written into status, then its objects are created (pure).

In this order, so that an operator that is killed in between finds its way from there.
"""

from __future__ import annotations

from dataclasses import replace

from headrace.api.trainingjob import Attempt, Run, SourceStatus, State
from headrace.kube.plan import Event, EventType, Plan
from headrace.training.baseline import pin
from headrace.training.gpus import image_of
from headrace.training.job import attempt_name
from headrace.training.objects import objects_of_attempt
from headrace.training.phases.cannot_begin import problem_of, wait_to_begin
from headrace.training.resolved_image import resolved
from headrace.training.stages import Part
from headrace.training.states import Reason
from headrace.training.step import POLL_WAITING, Step
from headrace.training.tuning.trial import tuned_by
from headrace.training.view import View


def begin(view: View) -> Step:
    """The first attempt of a stage, or the next one. All start with the image, source and baseline of the first."""
    status, part, name = view.status, view.part, view.job.metadata.name
    last = status.attempt
    number = last.number + 1 if last else 1
    image = _image_of_first(view) or image_of(part, view.settings)
    begun = status.evolve(
        state=State.PENDING,
        reason=Reason.WAITING_FOR_PODS,
        message=_creating(part, number),
        attempt=Attempt(
            number=number, stage=part.told, job=attempt_name(name, number), image=image, started_at=view.now
        ),
        start_time=status.start_time or view.now,
        next_attempt_at=None,
        run=_expected_run(view),
        source=_pinned_source(view),
    )
    begun, told = pin(view.job, begun, view.start.baseline, view.start.versions, view.now)
    event = Event(
        EventType.NORMAL,
        "AttemptStarted",
        f"{part.attempt(number)} started with {part.strategy.workers} worker(s) and image {image}",
    )
    step = _create(view.with_status(begun))
    return replace(step, plan=replace(step.plan, events=(event, *told)))


def _image_of_first(view: View) -> str | None:
    """As the stage's first attempt has named it. What all trials of a tuning run has a digest, once one has told it."""
    last = view.status.attempt
    if last is None or last.stage is not view.part.told or not last.image:
        return None
    return resolved(last.image, last.image_id) if tuned_by(view.job) and last.image_id else last.image


def begin_again(view: View) -> Step:
    """The attempt is in status, its Job was not made: the operator died in between, or the API server refused it.

    What held when the attempt began may not hold any more.
    """
    if problem := problem_of(view):
        return wait_to_begin(view, problem)
    status = view.status
    assert status.attempt is not None
    if status.reason in (Reason.REFUSED, Reason.NAME_IN_USE):  # which it is until an object could be created
        return _create(view)
    begun = status.evolve(
        state=State.PENDING,
        reason=Reason.WAITING_FOR_PODS,
        message=_creating(view.part, status.attempt.number),
        run=_expected_run(view),
    )
    return _create(view.with_status(begun))


def _creating(part: Part, number: int) -> str:
    return f"{part.attempt(number)}: creating its Job and pods"


def _create(view: View) -> Step:
    """Creates what the attempt in status needs; what is there already is left alone."""
    return Step(Plan(creates=objects_of_attempt(view), requeue_after=POLL_WAITING), view.status)


def _expected_run(view: View) -> Run | None:
    """The experiment is known before the launcher makes the run in it."""
    known, start = view.status.run, view.start
    if known is not None or not start.experiment_id:
        return known
    return Run(id="", experiment=start.run_experiment, experiment_id=start.experiment_id)


def _pinned_source(view: View) -> SourceStatus | None:
    pinned, found, wanted = view.status.source, view.observed.source, view.part.source.config_map
    if pinned is not None or found is None or wanted is None:
        return pinned
    return SourceStatus(config_map=wanted.name, resource_version=found.resource_version)
