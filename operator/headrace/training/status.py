"""Derives the parts of a TrainingJob's status: conditions, columns, what a launcher told (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from headrace.api.scalars import format_decimal
from headrace.api.trainingjob import (
    CheckpointStatus,
    Columns,
    Condition,
    Progress,
    Resume,
    Stage,
    State,
    TrainingJob,
    TrainingJobStatus,
    TrainingJobStatusChanges,
    to_status_dict,
)
from headrace.conditions import Fact, conditions
from headrace.kube.resources import Object
from headrace.sentences import rounded
from headrace.training import approval
from headrace.training.divergence import HINT, divergence
from headrace.training.evaluation_gates import beside_training
from headrace.training.observed import Pod
from headrace.training.stage_status import run_under_way, take_run, with_stages
from headrace.training.stages import part_of
from headrace.training.states import Reason
from headrace_common.evaluation import OF_JOB
from headrace_common.protocol import parts
from headrace_common.protocol.report import Live, Record

# The metric that the METRIC column shows when no gate names one: the first of these that there is.
SHOWN_METRICS = ("val_accuracy", "val_loss", "accuracy", "loss")

DIVERGED = "Diverged"
"""The condition of a training whose loss is no number any more. It is there once that has happened."""


def take_live(status: TrainingJobStatus, live: Live) -> TrainingJobStatus:
    """The status with what the chief answers on /progress."""
    return _take(status, live.progress, live.metrics, live.run, live.checkpoint, live.resume)


def take_record(status: TrainingJobStatus, record: Record) -> TrainingJobStatus:
    """The status with what the chief left in its record. The last /progress read is older than the record."""
    return _take(status, record.progress, record.metrics, record.run, record.checkpoint, record.resume)


def _take(
    status: TrainingJobStatus,
    progress: parts.Progress,
    metrics: Mapping[str, float],
    run: parts.RunReference | None,
    checkpoint: parts.CheckpointReference | None,
    resume: parts.Resume | None,
) -> TrainingJobStatus:
    changes: TrainingJobStatusChanges = {}
    if progress != parts.Progress():
        changes["progress"] = Progress(
            percent=None if progress.percent is None else int(progress.percent),
            eta_seconds=progress.eta_seconds,
            epoch=progress.epoch,
            epochs=progress.epochs,
            step=progress.step,
            steps=progress.steps,
            fit=None if progress.fit is None else progress.fit + 1,
            executors=progress.executors,
            executors_lost=progress.executors_lost,
        )
    if metrics:
        changes["metrics"] = _metrics(status, metrics)
    if run is not None:
        changes |= take_run(status, run)
    if checkpoint is not None:
        changes["checkpoint"] = CheckpointStatus(
            uri=checkpoint.uri,
            step=checkpoint.step,
            epoch=checkpoint.epoch,
            time=datetime.fromtimestamp(checkpoint.time_ms / 1000, tz=UTC),
        )
    if resume is not None:
        changes["resume"] = Resume(attempt=resume.attempt, step=resume.step, exact=resume.exact, message=resume.message)
    return status.evolve(**changes)


def _metrics(status: TrainingJobStatus, told: Mapping[str, float]) -> dict[str, str]:
    """Those of the stage under way. An evaluation's stand beside the training's."""
    if status.stage is not Stage.EVALUATE:
        return {name: format_decimal(value) for name, value in sorted(told.items())}
    return beside_training(status.metrics, told)


def take_chief_record(status: TrainingJobStatus, pods: tuple[Pod, ...]) -> TrainingJobStatus:
    """The status with the record of worker 0, where it has left one."""
    record = next((pod.record for pod in pods if pod.index == 0 and pod.record is not None), None)
    return take_record(status, record) if record is not None else status


def numbers(status: TrainingJobStatus) -> dict[str, float]:
    """The status' metrics as numbers."""
    return {name: float(value) for name, value in status.metrics.items()}


def finish_status(job: TrainingJob, status: TrainingJobStatus, now: datetime) -> Object:
    """The status as it is written: with conditions, columns and observedGeneration; every text cut to its bound."""
    status = with_stages(job, status)
    complete = status.evolve(
        observed_generation=job.metadata.generation,
        conditions=_conditions(job, status, now),
        columns=_columns(job, status),
    )
    return to_status_dict(complete)


def _conditions(job: TrainingJob, status: TrainingJobStatus, now: datetime) -> tuple[Condition, ...]:
    state, reason = status.state, status.reason or Reason.ACCEPTED
    message = status.message or ""
    under_way = state not in (State.SUCCEEDED, State.FAILED, State.SUSPENDED)
    facts = {
        "Progressing": under_way,
        "Complete": state is State.SUCCEEDED,
        "Failed": state is State.FAILED,
        "Suspended": state is State.SUSPENDED,
    }
    before = {condition.type for condition in status.conditions}
    # The text of a moment belongs to the condition that holds; the others would change with it for nothing.
    told: dict[str, Fact] = {
        kind: (holds, reason, (message or f"the TrainingJob is {state or reason}") if holds else _not_so(kind, state))
        for kind, holds in facts.items()
    }
    diverged = divergence(numbers(status))
    if diverged or DIVERGED in before:
        why = f"{diverged}: the training has diverged; {HINT}" if diverged else "the losses are finite again"
        told[DIVERGED] = (bool(diverged), "LossNotFinite" if diverged else "LossFinite", why)
    if (approved := approval.condition(status)) is not None:
        told["Approved"] = approved
    return conditions(told, status.conditions, job.metadata.generation, now)


def _not_so(kind: str, state: State | None) -> str:
    """What a condition says that does not hold."""
    texts = {
        "Progressing": f"the TrainingJob is {state}",
        "Complete": "the TrainingJob has failed" if state is State.FAILED else "the TrainingJob has not finished yet",
        "Failed": "the TrainingJob has not failed",
        "Suspended": "the TrainingJob is not suspended",
    }
    return texts[kind]


def _columns(job: TrainingJob, status: TrainingJobStatus) -> Columns:
    progress, part = status.progress, part_of(job.with_status(status))
    workers = part.strategy.workers
    running = sum(worker.phase == "Running" for worker in status.workers)
    gate = status.model.gate if status.model else None
    return Columns(
        progress="100%" if status.state is State.SUCCEEDED else _of_stage(part.told, _progress(status)),
        eta=_short(progress.eta_seconds)
        if progress and progress.eta_seconds and status.state is State.RUNNING
        else "-",
        metric=_metric(job, status),
        try_=f"{status.attempts_counted + 1}/{job.spec.restart_policy.max_restarts + 1}"
        if status.attempts_counted <= job.spec.restart_policy.max_restarts
        else f"{job.spec.restart_policy.max_restarts + 1}/{job.spec.restart_policy.max_restarts + 1}",
        workers=f"{running}/{workers}",
        gate="-" if gate is None else "Passed" if gate.passed else "Failed",
        model=f"{job.spec.output.model}/{status.model.version}"
        if job.spec.output and status.model and status.model.version
        else "-",
        checkpoint=f"step {status.checkpoint.step}"
        if status.checkpoint and status.checkpoint.step is not None
        else "-",
        run=next((run.id for run in (status.run, run_under_way(status)) if run and run.id), "-"),
    )


def _of_stage(stage: Stage | None, progress: str) -> str:
    """Behind the stage, in a job that has stages."""
    if stage is None:
        return progress
    return stage.lower() if progress == "-" else f"{stage.lower()} {progress}"


def _metric(job: TrainingJob, status: TrainingJobStatus) -> str:
    gates = [f"{OF_JOB}{gate.metric}" for gate in job.spec.evaluate.gates] if job.spec.evaluate else []
    gates += [gate.metric for gate in job.spec.evaluation.gates] if job.spec.evaluation else []
    for name in (*gates, *SHOWN_METRICS, *sorted(status.metrics)):
        if name in status.metrics:
            return f"{name}={rounded(status.metrics[name])}"
    return "-"


def _short(seconds: int) -> str:
    """A duration for a column: 45s, 22m, 3h10m, 2d4h."""
    if seconds < 60:
        return f"{seconds}s"
    minutes = seconds // 60
    if minutes < 60:
        return f"{minutes}m"
    hours = minutes // 60
    return f"{hours}h{minutes % 60}m" if hours < 24 else f"{hours // 24}d{hours % 24}h"


def _progress(status: TrainingJobStatus) -> str:
    """Of trials there are few: how many are over."""
    if status.stage is Stage.TUNE and (tuning := status.tuning) is not None:
        trials = tuning.trials
        return f"{trials.succeeded + trials.failed + (trials.pruned or 0)}/{trials.total}"
    return _percent(status.progress)


def _percent(progress: Progress | None) -> str:
    """Of the whole script while it has called `fit` once; from then on it says of which fit. A loop of the script's own
    may have no end that is known.
    """
    if progress is None:
        return "-"
    if progress.percent is None:
        return f"step {progress.step}" if progress.step else "-"
    return f"{progress.percent}% of fit {progress.fit}" if progress.fit and progress.fit > 1 else f"{progress.percent}%"
