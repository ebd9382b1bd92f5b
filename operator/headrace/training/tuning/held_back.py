"""What keeps trials from being begun while their job goes on: a pod that does not answer, an API server that takes none
(pure). Each is a condition, whose time says since when.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from headrace.api.trainingjob import ConditionStatus, FailureClass, TrainingJobStatus
from headrace.training.deadline import REPAIR_SECONDS
from headrace.training.failures import Cause
from headrace.training.formats import condition, with_condition, without_condition
from headrace.training.reports import reason_of
from headrace.training.states import Reason
from headrace.training.tuning.keep import DECIDED, has_waited, undecided
from headrace.training.view import View

CHOSEN = "TrialsChosen"
CREATED = "TrialsCreated"
# One answer that was lost says nothing.
_TOLD_AFTER = timedelta(seconds=30)
_SILENT_FOR = timedelta(seconds=REPAIR_SECONDS)
_UNKNOWN = "MLflow does not say which models of trials a version refers to, and none of them is deleted meanwhile"
_STAY = f"for {REPAIR_SECONDS} s MLflow has not said which models of trials a version refers to: they stay"
_SILENT = "the pod of the tuning runs and does not say which parameters the next trials have (port 9401)"


def with_silence(view: View) -> TrainingJobStatus:
    """The status with since when the program in the pod does not answer, where it should; and without the refusal of
    trials where none is left to be begun.
    """
    status, answer = _of_this_attempt(view.status), view.observed.answer
    if answer is not None:
        kept = without_condition(status.conditions, CHOSEN)
        return status.evolve(conditions=kept if answer.suggestions else without_condition(kept, CREATED))
    if view.observed.live is None:
        return status
    if not _should_answer(view):
        return status.evolve(conditions=without_condition(status.conditions, CHOSEN))
    silent = condition(
        view.job, CHOSEN, ConditionStatus.FALSE, Reason.TUNING_NOT_ANSWERING, f"{_SILENT}; {_until()}", view.now
    )
    return status.evolve(conditions=with_condition(status.conditions, silent))


def with_wait_for_decisions(view: View) -> TrainingJobStatus:
    """The status with since when the end of the tuning waits for MLflow, which it does for so long and no longer."""
    tunes, trials, status = view.part.tunes, view.observed.trials, view.status
    assert tunes is not None
    if has_waited(view.job):
        return status
    all_over = len({trial.number for trial in trials}) >= tunes.trials and all(trial.is_over for trial in trials)
    if not all_over or view.observed.kept_because or not undecided(view.job, trials):
        return status.evolve(conditions=without_condition(status.conditions, DECIDED))
    since = next((one.last_transition_time for one in status.conditions if one.type == DECIDED), view.now)
    is_over = view.now >= since + _SILENT_FOR
    said = (
        condition(view.job, DECIDED, ConditionStatus.TRUE, Reason.TRIAL_MODELS_STAY, _STAY, view.now)
        if is_over
        else condition(view.job, DECIDED, ConditionStatus.UNKNOWN, Reason.TRACKING_UNAVAILABLE, _UNKNOWN, view.now)
    )
    return status.evolve(conditions=with_condition(status.conditions, said))


def cause_of_silence(view: View) -> Cause | None:
    """Why the attempt is ended; None where the pod answers, or may yet."""
    since = since_when(view.status, CHOSEN)
    if since is None or not _should_answer(view) or view.now < since + _SILENT_FOR:
        return None
    message = f"for {REPAIR_SECONDS} s {_SILENT}"
    pod = view.chief.name if view.chief is not None else ""
    return Cause(FailureClass.KILLED, Reason.TUNING_NOT_ANSWERING, message, view.now, pod=pod)


def told(view: View) -> str:
    """What is to be said of it in the status' message, behind other things; empty where nothing is in the way."""
    status = view.status
    silent_since = since_when(status, CHOSEN)
    texts = [
        one.message
        for one in status.conditions
        if one.type == CREATED
        or (one.type == CHOSEN and silent_since is not None and view.now >= silent_since + _TOLD_AFTER)
    ]
    if view.part.tunes is not None and not view.observed.kept_because and undecided(view.job, view.observed.trials):
        texts.append(_UNKNOWN)
    return "".join(f"; {text}" for text in texts)


def since_when(status: TrainingJobStatus, kind: str) -> datetime | None:
    """Since when this has kept trials of the attempt under way from being begun; None where it does not."""
    return next((one.last_transition_time for one in _of_this_attempt(status).conditions if one.type == kind), None)


def _should_answer(view: View) -> bool:
    """Its launcher is heard, and has started the program."""
    live = view.observed.live
    return view.observed.answer is None and live is not None and reason_of(view.part, live) == Reason.TUNING


def _of_this_attempt(status: TrainingJobStatus) -> TrainingJobStatus:
    """Without what kept the pod before from its work."""
    begun = None if status.attempt is None else status.attempt.started_at
    kept = tuple(
        one
        for one in status.conditions
        if one.type not in (CHOSEN, CREATED) or (begun is not None and one.last_transition_time >= begun)
    )
    return status.evolve(conditions=kept)


def _until() -> str:
    return f"the attempt is ended if this lasts for {REPAIR_SECONDS} s"
