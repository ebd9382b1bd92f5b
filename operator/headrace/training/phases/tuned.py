"""The trials of a tuning are over: the best one's model is what has come out (pure). It is evaluated or registered as
if the training had made it.
"""

from __future__ import annotations

from headrace.api.trainingjob import EvaluationStatus, FailureClass, State, TrainedModel, TrainingJobStatus
from headrace.kube.plan import Event, EventType, Plan
from headrace.tracking.ledger import model_name
from headrace.training import attempt as attempts
from headrace.training.failures import Cause
from headrace.training.formats import format_to_judge
from headrace.training.observed import ended_at
from headrace.training.phases.failed import failed
from headrace.training.phases.trained import ended_without_format
from headrace.training.release import release
from headrace.training.stage_status import end_stage
from headrace.training.states import Reason
from headrace.training.status import take_record
from headrace.training.step import Step
from headrace.training.tuning.ask import ask_of
from headrace.training.tuning.outcome import best_trial, with_trials
from headrace.training.tuning.trial import Trial
from headrace.training.view import View
from headrace_common.protocol.report import Record
from headrace_common.protocol.trials import TrialState


def tuned(view: View, record: Record) -> Step:
    """What the success of the tuning's pod comes to. The pod's word is not taken for it that all trials are over."""
    trials = view.observed.trials
    if not ask_of(view.job, trials).is_last:
        message = "the pod of the tuning has ended before all trials were over"
        return failed(view, _cause(view, FailureClass.KILLED, Reason.TUNING_ENDED_EARLY, message))
    best = best_trial(view.job, trials)
    if best is None:
        return failed(view, _cause(view, FailureClass.CONFIG, Reason.NO_TRIAL_SUCCEEDED, _why_none(trials)))
    status = attempts.end_succeeded(take_record(view.status, record), Reason.TUNED, ended_at(view.pods, view.now))
    return _with_model(view, with_trials(view.job, status, trials), best)


def _why_none(trials: tuple[Trial, ...]) -> str:
    if without := [trial.name for trial in trials if trial.told.spent and trial.state is TrialState.SUCCEEDED]:
        return (
            f"no model is left: those of {', '.join(without[:3])} were deleted as others were better (tuning.keep), "
            "and the TrainingJobs of these were deleted since, or have failed when they were done again"
        )
    why = "; ".join(f"{trial.name}: {trial.why}" for trial in trials[:3])
    return f"none of {len(trials)} trials has ended well: {why}"


def _with_model(view: View, status: TrainingJobStatus, best: Trial) -> Step:
    job, evaluate, output = view.job, view.job.spec.evaluate, view.job.spec.output
    assert output is not None
    name = model_name(job.metadata.namespace, output.model)
    with_model = status.evolve(model=TrainedModel(name=name, digest=best.digest, uri=best.uri))
    tuning = job.spec.tuning
    metric = tuning.objective.metric if tuning is not None else ""
    message = f"the best trial is {best.name}, with {metric} {best.told.value:g}; its model is kept at {best.uri}"
    patches = release(job.metadata.namespace, view.pods, view.now)
    event = Event(EventType.NORMAL, Reason.TUNED, message[:1000])
    if evaluate is None:
        following = with_model.evolve(
            state=State.FINISHING, reason=Reason.JUDGING, message=f"{message}; registering it in MLflow"
        )
        return Step(Plan(patches=patches, events=(event,), requeue_after=0.0), following)
    judged = format_to_judge(evaluate, best.formats)
    if judged is None:
        made = ", ".join(best.formats) or "none"
        message = f"not registered: evaluate judges {evaluate.format or 'ONNX or TensorFlow'}; {best.name} has {made}"
        return ended_without_format(view, with_model, message)
    following = end_stage(job, with_model, message, ended_at(view.pods, view.now), reused=None).evolve(
        state=State.PENDING,
        reason=Reason.TUNED,
        message=f"{message}; the evaluation is started next",
        evaluation=EvaluationStatus(format=judged or None),
    )
    return Step(Plan(patches=patches, events=(event,), requeue_after=0.0), following)


def _cause(view: View, failure_class: FailureClass, reason: str, message: str) -> Cause:
    return Cause(failure_class, reason, message, view.now, pod=view.pods[0].name, exit_code=0)
