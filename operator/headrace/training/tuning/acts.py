"""What is done with trials in a pass: begun, held up with their job, or ended with it (pure)."""

from __future__ import annotations

from dataclasses import replace

from headrace.api.trainingjob import Stage, State, TrainingJobStatus
from headrace.kube.plan import Delete, Event, EventType, Patch
from headrace.kube.resources import JOBS, TRAININGJOBS, Object, Resource
from headrace.labels import PRUNED
from headrace.training.states import FINAL_STATES
from headrace.training.step import Step
from headrace.training.tuning.image import with_image
from headrace.training.tuning.keep import decided
from headrace.training.tuning.outcome import with_trials
from headrace.training.tuning.trial import render_trial, trial_name
from headrace.training.view import View


def with_acts(view: View, step: Step) -> Step:
    """The step of a job with trials, with what is done with these."""
    status, job, trials = step.status, view.job, view.observed.trials
    if job.spec.tuning is None or status is None or job.metadata.deletion_timestamp is not None:
        return step
    if status.state in FINAL_STATES:
        left = tuple(delete for delete in _left(view) if delete not in step.plan.deletes)
        if view.status.state not in FINAL_STATES and status.model is None:
            # The last look at them: those that are deleted now are not there at the next one.
            status = with_trials(job, status, trials)
        return Step(replace(step.plan, deletes=(*step.plan.deletes, *left)), status)
    if status.state is not State.FINISHING and status.model is None:
        status = with_image(job, with_trials(job, status, trials), trials, view.settings)
    pruned, told = _pruned(view)
    decisions, kept = decided(job, trials, view.observed.kept_because) if view.part.tunes is not None else ((), ())
    patches = (*_held_up(view), *pruned)
    # One that is stopped makes room, and is not kept by one that is refused: the others begin with the next look.
    creates, events = ((), ()) if patches else _begun(view.with_status(status), status)
    plan = replace(
        step.plan,
        creates=(*step.plan.creates, *creates),
        patches=(*step.plan.patches, *patches, *decisions),
        events=(*step.plan.events, *events, *told, *kept),
    )
    return Step(plan, status)


def _begun(view: View, status: TrainingJobStatus) -> tuple[tuple[tuple[Resource, Object], ...], tuple[Event, ...]]:
    answer, attempt = view.observed.answer, status.attempt
    is_under_way = attempt is not None and attempt.finished_at is None and status.state is State.RUNNING
    if answer is None or not is_under_way or view.part.stage is not Stage.TUNE or view.job.spec.suspend:
        return (), ()
    creates: list[tuple[Resource, Object]] = []
    events: list[Event] = []
    for number, parameters in answer.suggestions.items():
        creates.append((TRAININGJOBS, render_trial(view.job, number, parameters)))
        told = " ".join(f"--{name}={value}" for name, value in parameters.items())
        name = trial_name(view.job.metadata.name, number)
        events.append(Event(EventType.NORMAL, "TrialStarted", f"trial {name}: {told}"[:1000]))
    return tuple(creates), tuple(events)


def _held_up(view: View) -> tuple[Patch, ...]:
    """Trials wait while their job does, and go on with it."""
    wanted = view.job.spec.suspend
    return tuple(
        Patch(
            TRAININGJOBS,
            view.job.metadata.namespace,
            trial.name,
            {"metadata": {"uid": trial.uid}, "spec": {"suspend": wanted}},
        )
        for trial in view.observed.trials
        if not trial.is_over and not trial.deleting and not trial.pruned and trial.suspended is not wanted
    )


def _pruned(view: View) -> tuple[tuple[Patch, ...], tuple[Event, ...]]:
    """A trial that is stopped is suspended for good. In one write: what the pod has answered is not kept."""
    answer = view.observed.answer
    named = () if answer is None else answer.pruned
    stopped = [
        one for one in view.observed.trials if one.number in named and not (one.is_over or one.pruned or one.deleting)
    ]
    patches = tuple(
        Patch(
            TRAININGJOBS,
            view.job.metadata.namespace,
            trial.name,
            {"metadata": {"uid": trial.uid, "annotations": {PRUNED: "true"}}, "spec": {"suspend": True}},
        )
        for trial in stopped
    )
    text = "it is worse than most others were after as many reports"
    events = tuple(Event(EventType.NORMAL, "TrialPruned", f"trial {one.name} is stopped: {text}") for one in stopped)
    return patches, events


def _left(view: View) -> tuple[Delete, ...]:
    """When the job is over, so is all of it that still runs."""
    namespace, uid = view.job.metadata.namespace, view.job.metadata.uid
    trials = tuple(
        Delete(TRAININGJOBS, namespace, trial.name, trial.uid)
        for trial in view.observed.trials
        if not trial.is_over and not trial.deleting
    )
    jobs = tuple(
        Delete(JOBS, namespace, batch.name, batch.uid)
        for batch in view.observed.jobs
        if batch.owner_uid == uid and not (batch.complete or batch.failed or batch.deleting)
    )
    return (*trials, *jobs)
