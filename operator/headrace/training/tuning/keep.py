"""Which trials' models are not kept (pure): all but the best `tuning.keep`, and those that a version or a
ModelService refers to.

It is decided once and written on the trial: from then on it is never the best one, whatever becomes of others. Only
then the pod of the tuning is told, which removes the model, as often as it is told. So whoever is killed in between, no
model is removed that comes out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from headrace.api.trainingjob import ConditionStatus, TrainingJob
from headrace.kube.plan import Event, EventType, Patch
from headrace.kube.resources import TRAININGJOBS, Object
from headrace.labels import MODEL_SERVICE, TRIAL_MODEL
from headrace.training.tuning.trial import ModelDecision, Trial
from headrace_common.protocol.trials import TrialState, ranked

# In a pass: MLflow is asked about each of them.
MOST_DECIDED = 8
# The condition: Unknown while MLflow is waited for, True once it was waited for long enough, and the others stay.
DECIDED = "TrialModelsDecided"


def undecided(job: TrainingJob, trials: Sequence[Trial]) -> tuple[Trial, ...]:
    """Those that ended well, are none of the best, and of whose models nothing was decided yet; none where the job does
    not say that models are to be deleted.
    """
    spec = job.spec.tuning
    assert spec is not None
    if spec.keep is None or has_waited(job):
        return ()
    best = {one.number for one in ranked(spec.objective.goal, (trial.told for trial in trials))[: spec.keep]}
    return tuple(
        trial
        for trial in trials
        if trial.state is TrialState.SUCCEEDED
        and trial.number not in best
        and trial.model is None
        and _can_be_asked_for(trial)
        and not trial.deleting
    )


def has_waited(job: TrainingJob) -> bool:
    """Whether the models of which nothing was decided stay: MLflow was away for too long at the end of the tuning."""
    return any(one.type == DECIDED and one.status is ConditionStatus.TRUE for one in job.status.conditions)


def served_by(objects: Sequence[Object], trial: Trial, folder: str) -> str:
    """What is said of the first of these (ModelServices and the Deployments of their revisions) that names something in
    `folder`, or has the digest of the trial's model; empty where none does. All texts are looked at, in whatever field:
    one that is kept for nothing is no harm.
    """
    for obj in objects:
        if any(_names(text, trial, folder) for text in _texts(obj.get("spec"), obj.get("status"))):
            metadata = obj["metadata"]
            return f"ModelService {(metadata.get('labels') or {}).get(MODEL_SERVICE, metadata['name'])} serves it"
    return ""


def _names(text: str, trial: Trial, folder: str) -> bool:
    return f"{folder}/" in text or text == folder or bool(trial.digest and trial.digest in text)


def _texts(*values: Any) -> Iterator[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            yield from _texts(*value.values())
        elif isinstance(value, list):
            yield from _texts(*value)


def _can_be_asked_for(trial: Trial) -> bool:
    """Where its model lies is the word of its pod."""
    return bool(trial.told.run and trial.uri) and "'" not in trial.told.run + trial.uri


def decided(
    job: TrainingJob, trials: Sequence[Trial], kept_because: Mapping[str, str]
) -> tuple[tuple[Patch, ...], tuple[Event, ...]]:
    """What is written on the trials of which it is known by now whether something refers to their models:
    `kept_because` has it by the uid of the trial, empty where nothing does.
    """
    known = [trial for trial in undecided(job, trials) if trial.uid in kept_because]
    patches = tuple(
        Patch(
            TRAININGJOBS,
            job.metadata.namespace,
            trial.name,
            {"metadata": {"uid": trial.uid, "annotations": {TRIAL_MODEL: str(_decision(kept_because[trial.uid]))}}},
        )
        for trial in known
    )
    return patches, tuple(_event(job, trial, kept_because[trial.uid]) for trial in known)


def _decision(why: str) -> ModelDecision:
    return ModelDecision.KEPT if why else ModelDecision.REMOVED


def _event(job: TrainingJob, trial: Trial, why: str) -> Event:
    assert job.spec.tuning is not None
    better = f"{job.spec.tuning.keep} are better (tuning.keep)"
    if why:
        return Event(EventType.NORMAL, "TrialModelKept", f"trial {trial.name}: {better}; kept, {why}")
    return Event(
        EventType.NORMAL, "TrialModelRemoved", f"trial {trial.name}: {better}, its model is given up; its run stays"
    )
