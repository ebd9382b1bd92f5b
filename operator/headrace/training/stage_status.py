"""What the status says of the stages of a TrainingJob (pure).

Most of a stage's entry follows from the rest of the status while it is under way; what it came to stays as it was at
its end. In a job without stages nothing of this is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from headrace.api.trainingjob import (
    Run,
    Stage,
    StageState,
    StageStatus,
    State,
    TrainingJob,
    TrainingJobStatus,
    TrainingJobStatusChanges,
)
from headrace.training.stages import has_stages, part_of, stage_of, stages_of, told_to_launchers
from headrace_common.protocol import parts
from headrace_common.tags import uid_of_stage

# Stages whose launcher writes a run of its own, below the job's; that of the others is the job's.
_WITH_OWN_RUN = (Stage.PREPARE, Stage.EVALUATE)
_ENDED: Mapping[State, StageState] = {State.SUCCEEDED: StageState.SUCCEEDED, State.FAILED: StageState.FAILED}


def with_stages(job: TrainingJob, status: TrainingJobStatus) -> TrainingJobStatus:
    """The status with an entry for each stage: those that ended, the one under way, those to come."""
    if not has_stages(job.spec):
        return status
    current, stages = stage_of(job.with_status(status)), stages_of(job.spec)
    before = tuple(_entry(status, stage) for stage in stages[: stages.index(current)])
    to_come = StageState.NOT_RUN if status.state in _ENDED else StageState.PENDING
    after = tuple(_entry(status, stage).evolve(state=to_come) for stage in stages[stages.index(current) + 1 :])
    under_way = _under_way(status, _entry(status, current), before)
    return status.evolve(stage=current, stages=(*before, under_way, *after))


def _under_way(status: TrainingJobStatus, entry: StageStatus, before: tuple[StageStatus, ...]) -> StageStatus:
    attempt = status.attempt
    # Attempts are counted through over all stages.
    attempts = max((attempt.number if attempt else 0) - sum(stage.attempts for stage in before), 0)
    ended = _ENDED.get(status.state) if status.state else None
    began = attempt.started_at if attempt and attempts else None
    return entry.evolve(
        state=ended or (StageState.RUNNING if attempts else StageState.PENDING),
        attempts=attempts,
        started_at=entry.started_at or began,
        finished_at=status.completion_time,
        message=status.message if ended else None,
    )


def end_stage(
    job: TrainingJob, status: TrainingJobStatus, message: str, ended: datetime, reused: bool | None
) -> TrainingJobStatus:
    """The status after the stage under way has succeeded and is not the last one: the next one begins from nothing.
    What a training has measured stays, for its gates are judged at the end.
    """
    stages, current = stages_of(job.spec), stage_of(job.with_status(status))
    complete = with_stages(job, status)
    entry = _entry(complete, current).evolve(
        state=StageState.SUCCEEDED, finished_at=ended, message=message, reused=reused
    )
    following = _with_entry(complete, entry).evolve(
        stage=stages[stages.index(current) + 1],
        attempts_counted=0,
        progress=None,
        resume=None,
    )
    if current is Stage.PREPARE:
        following = following.evolve(metrics={}, checkpoint=None)
    now, then = part_of(job.with_status(complete)), part_of(job.with_status(following))
    runs_on = then.source_copy in ("", now.source_copy)
    return following if runs_on else following.evolve(source=None)


def run_under_way(status: TrainingJobStatus) -> Run | None:
    """The run that the launcher of the stage under way writes to, as far as it is known."""
    return _entry(status, status.stage).run if status.stage in _WITH_OWN_RUN else status.run


def is_run_untold(job: TrainingJob) -> bool:
    """Whether a launcher may have made the job's own run and told of another: that of its stage."""
    return has_stages(job.spec) and not (job.status.run and job.status.run.id)


def take_run(status: TrainingJobStatus, told: parts.RunReference) -> TrainingJobStatusChanges:
    """What changes with the run that the launcher of the stage under way has told."""
    known, of_job = run_under_way(status), status.run
    run = Run(
        id=told.id,
        experiment=of_job.experiment if of_job else None,
        experiment_id=told.experiment_id or (of_job.experiment_id if of_job else None),
        url=known.url if known else None,
    )
    if status.stage not in _WITH_OWN_RUN:
        return {"run": run}
    return {"stages": _with_entry(status, _entry(status, status.stage).evolve(run=run)).stages}


def uid_of_own_run(job: TrainingJob) -> str:
    """By which the run of the stage under way is found in MLflow; empty where that is the job's."""
    stage = job.status.stage
    return (
        uid_of_stage(job.metadata.uid, told_to_launchers(stage)) if stage is not None and stage in _WITH_OWN_RUN else ""
    )


def run_uids(uid: str) -> tuple[str, ...]:
    """By which runs of a job are found in MLflow (tag headrace.uid): its own, and those that its stages may have."""
    return (uid, *(uid_of_stage(uid, told_to_launchers(stage)) for stage in _WITH_OWN_RUN))


def _entry(status: TrainingJobStatus, stage: Stage) -> StageStatus:
    return next((entry for entry in status.stages if entry.name is stage), StageStatus(name=stage))


def _with_entry(status: TrainingJobStatus, entry: StageStatus) -> TrainingJobStatus:
    others = tuple(other for other in status.stages if other.name is not entry.name)
    order = list(Stage)
    return status.evolve(stages=tuple(sorted((*others, entry), key=lambda one: order.index(one.name))))
