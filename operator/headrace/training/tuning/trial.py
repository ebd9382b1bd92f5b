"""A trial is a TrainingJob that belongs to another one: how it is made, told from others, and read (pure).

What a trial came to stands in its own spec and status, and nowhere else: whoever is killed, nothing of it is lost.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from headrace.api.trainingjob import Attempt, State, TrainingJob
from headrace.kube.ownership import controller_reference, is_owned
from headrace.kube.resources import TRAININGJOBS, Object
from headrace.labels import (
    MANAGED_BY,
    MANAGED_BY_HEADRACE,
    OBJECTIVE,
    PRUNED,
    QUEUE,
    TRIAL,
    TRIAL_MODEL,
    TRIAL_OF,
    TUNED_BY,
)
from headrace.training.resolved_image import resolved
from headrace.training.states import FINAL_STATES, Reason
from headrace_common.protocol.fields import Scalar
from headrace_common.protocol.trials import Trial as Told
from headrace_common.protocol.trials import TrialState

# Of the whole job, and not of each of its trials.
_OF_THE_JOB = (
    "tuning",
    "prepare",
    "evaluate",
    "evaluation",
    "suspend",
    "activeDeadlineSeconds",
    "ttlSecondsAfterFinished",
)
_OF_THE_VERSION = ("alias", "approval")


class ModelDecision(StrEnum):
    """What was decided of the model of a trial that is none of the best ones. It stands on the trial before anything
    is done.
    """

    REMOVED = "Removed"
    KEPT = "Kept"  # something refers to it, or nobody can tell


@dataclass(frozen=True)
class Trial:
    """One of a job's trials. `why` says of one that failed what was wrong."""

    name: str
    uid: str
    told: Told
    suspended: bool
    pruned: bool
    deleting: bool
    why: str = ""
    lacks_metric: bool = False
    metrics: tuple[str, ...] = ()
    uri: str = ""
    digest: str = ""
    formats: tuple[str, ...] = ()
    model: ModelDecision | None = None
    image: str = ""  # that its pods have run, once they have told

    @property
    def number(self) -> int:
        return self.told.number

    @property
    def state(self) -> TrialState:
        return self.told.state

    @property
    def is_over(self) -> bool:
        return self.state is not TrialState.RUNNING


def trial_name(job_name: str, number: int) -> str:
    """The name of a trial's TrainingJob."""
    return f"{job_name}-t{number}"


def is_trial(job: TrainingJob) -> bool:
    """Whether the job is a trial of another one, which does with its model what is to be done."""
    owner = next((one for one in job.metadata.owner_references if one.controller), None)
    return owner is not None and owner.kind == TRAININGJOBS.kind and TRIAL in job.metadata.labels


def is_orphan(job: TrainingJob) -> bool:
    """Whether the job was a trial, and the one that it belonged to was deleted without it. Its spec has neither that
    one's evaluation nor its approval.
    """
    has_owner = any(one.controller for one in job.metadata.owner_references)
    return not has_owner and TRIAL in job.metadata.labels and TRIAL_OF in job.metadata.labels


def objective_of(job: TrainingJob) -> str:
    """The metric that a trial is made for."""
    return job.metadata.annotations.get(OBJECTIVE, "")


def tuned_by(job: TrainingJob) -> str:
    """The uid of the job that this one is a trial of, or was; empty where it is none."""
    return job.metadata.annotations.get(TUNED_BY, "") if is_trial(job) or is_orphan(job) else ""


def render_trial(job: TrainingJob, number: int, parameters: Mapping[str, Scalar]) -> Object:
    """The trial of this number: the job's own training, with these parameters in place of its own, of the source that
    was pinned, of the dataset that was prepared, and in the image that the first trial has run.
    """
    assert job.spec.tuning is not None
    metadata, spec = (
        job.metadata,
        job.spec.model_dump(mode="json", by_alias=True, exclude_unset=True, exclude_none=True),
    )
    kept: dict[str, Any] = {name: part for name, part in spec.items() if name not in _OF_THE_JOB}
    if job.spec.source.config_map is not None:
        kept["source"] = {"configMap": {"name": f"{metadata.name}-source"}}
    if job.status.tuning is not None and (image := job.status.tuning.image):
        kept |= {"source": {"image": image}} if job.spec.source.image else {"image": image}
    if (output := kept.get("output")) is not None:
        kept["output"] = {name: part for name, part in output.items() if name not in _OF_THE_VERSION}
    if (made := job.status.dataset) is not None:
        kept["datasets"] = [*kept.get("datasets", ()), {"name": made.name, "uri": made.uri}]
    kept["parameters"] = {**job.spec.parameters, **parameters}
    queue = {QUEUE: metadata.labels[QUEUE]} if QUEUE in metadata.labels else {}
    return {
        "apiVersion": TRAININGJOBS.api_version,
        "kind": TRAININGJOBS.kind,
        "metadata": {
            "name": trial_name(metadata.name, number),
            "namespace": metadata.namespace,
            "labels": {MANAGED_BY: MANAGED_BY_HEADRACE, TRIAL_OF: metadata.name, TRIAL: str(number), **queue},
            "annotations": {OBJECTIVE: job.spec.tuning.objective.metric, TUNED_BY: metadata.uid},
            "ownerReferences": [controller_reference(TRAININGJOBS, metadata.name, metadata.uid)],
        },
        "spec": kept,
    }


def read_trial(job: TrainingJob, obj: Object) -> Trial | None:
    """One of the job's trials as the API server has it; None where it is none. Labels can be written by anybody."""
    assert job.spec.tuning is not None
    found = TrainingJob.model_validate(obj)
    metadata, status, metric = found.metadata, found.status, job.spec.tuning.objective.metric
    number = metadata.labels.get(TRIAL, "")
    is_ours = is_owned(obj, job.metadata.uid) and number.isascii() and number.isdigit()
    if not is_ours or metadata.name != trial_name(job.metadata.name, int(number)):
        return None
    value = _finite(status.metrics.get(metric))
    model = status.model
    has_ended_well = status.state is State.SUCCEEDED and status.reason == Reason.TRIAL_ENDED and model is not None
    lacks = has_ended_well and value is None
    if has_ended_well and not lacks:
        state = TrialState.SUCCEEDED
    else:
        state = TrialState.FAILED if status.state in FINAL_STATES else TrialState.RUNNING
    is_pruned = PRUNED in metadata.annotations
    # Until its pods are over it takes the place of another one.
    if is_pruned and (state is TrialState.FAILED or status.state is State.SUSPENDED):
        state = TrialState.PRUNED
    names = {one.name for one in job.spec.tuning.space}
    decision = _decision(metadata.annotations.get(TRIAL_MODEL))
    return Trial(
        name=metadata.name,
        uid=metadata.uid,
        told=Told(
            number=int(number),
            state=state,
            parameters={name: value for name, value in found.spec.parameters.items() if name in names},
            value=value if state is TrialState.SUCCEEDED else None,
            run=status.run.id if status.run else "",
            spent=decision is ModelDecision.REMOVED,
        ),
        suspended=found.spec.suspend,
        pruned=is_pruned,
        deleting=metadata.deletion_timestamp is not None,
        why=""
        if state is not TrialState.FAILED
        else _why(metric, status.metrics, lacks, status.reason, status.message),
        lacks_metric=lacks and metric not in status.metrics,
        metrics=tuple(sorted(status.metrics)),
        uri=(model.uri if model else None) or "",
        digest=(model.digest if model else None) or "",
        formats=(model.formats if model else None) or (),
        model=decision,
        image=_image(status.attempt),
    )


def _decision(said: str | None) -> ModelDecision | None:
    return ModelDecision(said) if said in list(ModelDecision) else None


def _image(attempt: Attempt | None) -> str:
    return resolved(attempt.image, attempt.image_id) if attempt and attempt.image and attempt.image_id else ""


def _finite(value: str | None) -> float | None:
    try:
        number = math.nan if value is None else float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _why(metric: str, metrics: Mapping[str, str], lacks: bool, reason: str | None, message: str | None) -> str:
    if not lacks:
        return f"{reason}: {(message or '')[:200]}"
    return f"{metric} is {metrics[metric]}" if metric in metrics else f"it has logged no {metric}"
