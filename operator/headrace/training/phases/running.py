"""The attempt's Job runs: its pods, and what the chief's launcher reports, become status (pure)."""

from __future__ import annotations

from headrace.api.trainingjob import FailureClass, State, TrainingJobStatus, Worker
from headrace.kube.plan import Event, EventType, Plan
from headrace.sentences import listed
from headrace.training.failures import is_lost
from headrace.training.formats import event_of, exportable, with_condition
from headrace.training.observed import Job, Pod
from headrace.training.phases.cannot_start import cannot_start, what_keeps_pods
from headrace.training.phases.failed import failed
from headrace.training.phases.stopping import stop
from headrace.training.reports import TOLD_REASONS, TRIALS_OVER, goes_on, outages_of, reason_of
from headrace.training.sidecars import HINT as SIDECAR_HINT
from headrace.training.sidecars import SIDE_GRACE, held_up, overstayed
from headrace.training.states import Reason
from headrace.training.status import take_live
from headrace.training.step import POLL_RUNNING, POLL_WAITING, Step
from headrace.training.tuning.ask import ask_of
from headrace.training.tuning.held_back import cause_of_silence, told, with_silence, with_wait_for_decisions
from headrace.training.tuning.outcome import cause_to_stop
from headrace.training.view import View
from headrace_common.protocol import PROGRESS_PORT
from headrace_common.protocol.report import Live

_SHOWN_OF_FAILURE = 160


def running(view: View, batch: Job) -> Step:
    """What stands in the way of an end comes first, then what goes on."""
    pods = view.pods
    if lost := next((pod for pod in pods if is_lost(pod, view.now)), None):
        # The Job waits for the pod's end, of which nobody will ever tell it.
        message = (
            f"node {lost.node} does not respond, and pod {lost.name} on it should have terminated by now; the attempt "
            f"is ended; kubectl describe node {lost.node} shows the node's state"
        )
        return stop(view, batch, message, Event(EventType.WARNING, Reason.NODE_LOST, message))
    view = view.with_status(_take_pods(view.status, pods))
    if view.part.tunes is not None:
        view = view.with_status(with_silence(view))
        view = view.with_status(with_wait_for_decisions(view))
        if cause := cause_to_stop(view.job, view.observed.trials, view.now) or cause_of_silence(view):
            return failed(view, cause, batch)
    if stayed := overstayed(pods, view.now):
        return _stop_sidecars(view, batch, stayed)
    if waiting := what_keeps_pods(view, batch):
        return cannot_start(view, batch, waiting)
    chief = view.chief
    if chief is None or not chief.node:
        return _says(view, State.PENDING, Reason.WAITING_FOR_PODS, _what_is_placed(view))
    return _told_by_kubernetes(view, batch, chief) or _told_by_launcher(view, chief)


def _take_pods(status: TrainingJobStatus, pods: tuple[Pod, ...]) -> TrainingJobStatus:
    status = status.evolve(workers=tuple(_worker(pod) for pod in pods))
    image_id = next((pod.image_id for pod in pods if pod.image_id), None)
    if image_id is None or status.attempt is None:
        return status
    return status.evolve(attempt=status.attempt.evolve(image_id=image_id))


def _worker(pod: Pod) -> Worker:
    return Worker(index=pod.index, pod=pod.name, phase=pod.waiting_reason or pod.phase.value, node=pod.node or None)


def _stop_sidecars(view: View, batch: Job, pod: Pod) -> Step:
    """Only a side container goes on, nothing more can come of the attempt; its trainers' records tell how it ended."""
    name = pod.held_up_by.name if pod.held_up_by else ""
    message = (
        f"the {view.part.work} has ended, but container {name!r} still runs {SIDE_GRACE.total_seconds():.0f} s later: "
        f"its pod is being deleted; {SIDECAR_HINT}"
    )
    return stop(view, batch, message, Event(EventType.WARNING, "SideContainerStopped", f"pod {pod.name}: {message}"))


def _told_by_kubernetes(view: View, batch: Job, chief: Pod) -> Step | None:
    """Where the chief's launcher cannot speak: before its container runs, and when it ends."""
    if chief.is_over:
        return _says(view, State.RUNNING, Reason.ENDING, _what_is_waited_for(view, batch))
    if chief.deleted_at is not None:
        message = f"pod {chief.name} was deleted; waiting for it to terminate"
        return _says(view, State.RUNNING, Reason.ENDING, message)
    if not chief.container_running:
        message = f"waiting for the containers of pod {chief.name} to start on node {chief.node}"
        return _says(view, State.STARTING, Reason.CREATING_CONTAINERS, message)
    return None


def _told_by_launcher(view: View, chief: Pod) -> Step:
    live, status = view.observed.live, view.status
    if live is not None:
        return _reported(view, live)
    if status.state is State.RUNNING and status.reason in TOLD_REASONS:
        # One answer that was lost says nothing about the training.
        return _says(view, status.state, status.reason, status.message or goes_on(view.part, status.reason))
    message = f"pod {chief.name} is running; waiting for the first report of its launcher (port {PROGRESS_PORT})"
    return _says(view, State.RUNNING, Reason.PREPARING, message)


def _reported(view: View, live: Live) -> Step:
    status, events = _take_trial(view, take_live(view.status, live), live)
    outages, reason = outages_of(view.part, live), reason_of(view.part, live)
    message = ("; ".join(text for _, text in outages) or _goes_on(view, reason)) + _failed_before(status)
    message += told(view)
    reason = outages[0][0] if outages else reason
    return _says(view.with_status(status), State.RUNNING, reason, message, *events)


def _goes_on(view: View, reason: str) -> str:
    trials = view.observed.trials
    if reason == Reason.TUNING and trials and ask_of(view.job, trials).is_last:
        return TRIALS_OVER
    return goes_on(view.part, reason)


def _says(view: View, state: State, reason: str, message: str, *events: Event) -> Step:
    is_told = state is State.RUNNING and view.observed.live is not None
    status = view.status.evolve(state=state, reason=reason, message=message)
    return Step(Plan(events=events, requeue_after=POLL_RUNNING if is_told else POLL_WAITING), status)


def _take_trial(view: View, status: TrainingJobStatus, live: Live) -> tuple[TrainingJobStatus, tuple[Event, ...]]:
    """What the trial of the export has shown; a format that cannot be made is an Event once."""
    if live.export_trial is None or not view.part.formats:
        return status, ()
    found = exportable(view.job, live.export_trial, view.now)
    is_known = any(old.type == found.type and old.message == found.message for old in status.conditions)
    conditions = with_condition(status.conditions, found)
    return status.evolve(conditions=conditions), () if is_known else event_of(found)


def _failed_before(status: TrainingJobStatus) -> str:
    """Why this attempt is not the first one: a script that fails each time is seen before its last restart."""
    failure = status.failure
    if failure is None or failure.attempt is None or status.attempt is None or failure.attempt >= status.attempt.number:
        return ""
    how = "was disrupted" if failure.class_ is FailureClass.DISRUPTED else "failed"
    return f"; attempt {failure.attempt} {how}: {failure.reason}: {(failure.message or '')[:_SHOWN_OF_FAILURE]}"


def _what_is_placed(view: View) -> str:
    pods, wanted = view.pods, view.part.strategy.workers
    placed = sum(bool(pod.node) for pod in pods)
    return f"waiting for the pods: {len(pods)} of {wanted} are created, {placed} of {wanted} are scheduled to a node"


def _what_is_waited_for(view: View, batch: Job) -> str:
    """What an attempt waits for whose chief ended."""
    pods = view.pods
    pod = held_up(pods)
    side = pod.held_up_by if pod is not None else None
    if pod is not None and side is not None:
        wait = f"{SIDE_GRACE.total_seconds():.0f} s"
        return (
            f"the {view.part.work} has ended; waiting up to {wait} for container {side.name!r} of pod {pod.name} to "
            f"exit; {SIDECAR_HINT}"
        )
    if left := listed(pod.name for pod in pods if not pod.is_over):
        return f"worker 0 has ended; waiting for the other workers: {left}"
    return f"all workers have ended; waiting for Kubernetes to mark Job {batch.name} as Complete or Failed"
