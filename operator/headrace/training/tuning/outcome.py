"""What the trials of a job have come to: for its status, and whether it goes on (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from headrace.api.scalars import format_decimal
from headrace.api.trainingjob import (
    FailureClass,
    Progress,
    Stage,
    TrainingJob,
    TrainingJobStatus,
    TrialCounts,
    TrialStatus,
    TuningStatus,
)
from headrace.sentences import listed
from headrace.training.failures import Cause
from headrace.training.states import Reason
from headrace.training.tuning.space import tuning_of
from headrace.training.tuning.trial import Trial
from headrace_common.protocol.fields import Scalar
from headrace_common.protocol.trials import TrialState, best_of

_NAMED = 3


def best_trial(job: TrainingJob, trials: Sequence[Trial]) -> Trial | None:
    """The one whose model comes out."""
    asked = tuning_of(job.spec)
    best = None if asked is None else best_of(asked.goal, (trial.told for trial in trials))
    return None if best is None else next(trial for trial in trials if trial.told is best)


def with_trials(job: TrainingJob, status: TrainingJobStatus, trials: Sequence[Trial]) -> TrainingJobStatus:
    """The status with what the trials have come to; while they are under way they are the job's progress."""
    asked = tuning_of(job.spec)
    assert asked is not None
    best = best_trial(job, trials)
    states = [trial.state for trial in trials]
    counts = TrialCounts(
        total=asked.trials,
        running=states.count(TrialState.RUNNING),
        succeeded=states.count(TrialState.SUCCEEDED),
        failed=states.count(TrialState.FAILED),
        pruned=None if asked.pruner is None else states.count(TrialState.PRUNED),
    )
    image = status.tuning.image if status.tuning is not None else None
    tuning = TuningStatus(trials=counts, best=None if best is None else _shown(best), image=image)
    found = status.evolve(tuning=tuning)
    if status.stage is not Stage.TUNE:
        return found
    ended = len(trials) - counts.running
    metrics = {} if best is None else {asked.metric: format_decimal(best.told.value or 0.0)}
    percent = 100 * ended // max(1, asked.trials)
    return found.evolve(metrics=metrics, progress=Progress(percent=percent, step=ended, steps=asked.trials))


def settled(status: TrainingJobStatus) -> TrainingJobStatus:
    """The status of a job that is over: what still ran is deleted, and is not seen ending."""
    if status.tuning is None or not status.tuning.trials.running:
        return status
    counts = status.tuning.trials
    ended = counts.model_copy(update={"running": 0, "deleted": (counts.deleted or 0) + counts.running})
    return status.evolve(tuning=status.tuning.model_copy(update={"trials": ended}))


def _shown(best: Trial) -> TrialStatus:
    return TrialStatus(
        name=best.name,
        uid=best.uid,
        number=best.number,
        value=format_decimal(best.told.value or 0.0),
        parameters={name: _text(value) for name, value in sorted(best.told.parameters.items())},
        run=best.told.run or None,
    )


def _text(value: Scalar) -> str:
    return value if isinstance(value, str) else format_decimal(value)


def cause_to_stop(job: TrainingJob, trials: Sequence[Trial], now: datetime) -> Cause | None:
    """Why no more trials are to be begun; None where nothing is wrong with them."""
    spec = job.spec.tuning
    assert spec is not None
    metric = spec.objective.metric
    failed = [trial for trial in trials if trial.state is TrialState.FAILED]
    silent = [trial for trial in trials if trial.lacks_metric]
    if silent and not any(trial.state is TrialState.SUCCEEDED for trial in trials):
        logged = ", ".join(silent[0].metrics[:20]) or "none"
        message = f"trial {silent[0].name} has ended, and has logged no {metric} (metrics that it has: {logged})"
        return Cause(FailureClass.CONFIG, Reason.OBJECTIVE_NOT_REPORTED, message, now)
    if len(failed) > spec.max_failed_trials:
        why = "; ".join(f"{trial.name}: {trial.why}" for trial in failed[:_NAMED])
        allowed = f"tuning.maxFailedTrials allows {spec.max_failed_trials}"
        message = f"{len(failed)} trials have failed, and {allowed}: {listed(one.name for one in failed)}; {why}"
        return Cause(FailureClass.USER_CODE, Reason.TRIALS_FAILED, message, now)
    return None
