"""The end of a TrainingJob with an output: compare digests, judge the gates, register the version, point the alias or
leave it to a person (`approval`). With the stage Evaluate this is also where its run is read: it has to have judged the
bytes that are registered.

The intent stands in status (state Finishing, the model's uri and digest) before anything here runs. Each act looks
first for what an earlier try left, so that an operator killed between two of them registers one version and moves one
alias. What is judged is in `judging`, what the status says of it in `verdict`.
"""

from __future__ import annotations

from datetime import datetime

from headrace.api.trainingjob import Stage, State, TrainingJob, TrainingJobStatus
from headrace.tracking.errors import AliasReserved
from headrace.tracking.ledger import Ledger
from headrace.tracking.records import GATE_TAG, ModelVersion, Notes, Run, RunStatus
from headrace.training.approval import awaiting
from headrace.training.approving import marks
from headrace.training.baseline import not_compared
from headrace.training.judging import DigestMismatch, judgement, missed, verify, verify_evaluation
from headrace.training.notes import described, notes_of
from headrace.training.stage_status import run_uids, run_under_way, uid_of_own_run
from headrace.training.stages import told_to_launchers
from headrace.training.tuning.trial import is_orphan, is_trial
from headrace.training.verdict import Verdict, not_met, orphaned, registered, tried
from headrace_common.tags import OUTCOME_TAG, uid_of_stage


async def finish(job: TrainingJob, ledger: Ledger, tenant_user: str, now: datetime) -> Verdict:
    """Do what is left to do for a job in state Finishing.

    Raises TrackingUnavailable when MLflow is away, and RunDeleted until the run is restored (try again), any other
    TrackingError when a person has to decide.
    """
    status, output, metadata = job.status, job.spec.output, job.metadata
    if output is None or status.model is None or status.run is None:
        raise DigestMismatch("the training ended, but the launcher reported no model or no run")
    uri, digest = status.model.uri or "", status.model.digest or ""
    best = status.tuning.best if job.spec.tuning is not None and status.tuning is not None else None
    found = await ledger.find_run(status.run.experiment_id or "", metadata.uid if best is None else best.uid)
    if found is None:
        await ledger.check_run(status.run.id)
    run = verify(found, uri, digest)
    if is_trial(job):
        return tried(job, judgement(job, run), now)
    if is_orphan(job):
        return orphaned(job, judgement(job, run), now)
    judged = judgement(job, run, await _evaluation(job, ledger, digest))
    gate = judged.gate
    if gate is not None:
        await ledger.tag_run(run.id, {GATE_TAG: _passed(job) if gate.passed else f"failed: {missed(judged)}"})
    if gate is not None and not gate.passed:
        return not_met(status, judged, gate, now)
    model = await ledger.ensure_model(metadata.namespace, output.model, tenant_user)
    notes = notes_of(judged)
    with_marks = Notes({**described(run), **notes.tags, **marks(job)}, notes.description)
    version = await ledger.register(model.name, run.id, digest, uri, metadata.uid, with_marks)
    if output.needs_approval:
        owner = await ledger.alias_owner(model.name, output.alias) if output.alias is not None else ""
        return awaiting(job, registered(job, judged, version, None, now), owner)
    reserved = await _point_alias(ledger, model.name, output.alias, version)
    return registered(job, judged, version, reserved, now)


def _passed(job: TrainingJob) -> str:
    unjudged = not_compared(job)
    return "passed" if unjudged is None else f"passed; {unjudged.message}"


async def _evaluation(job: TrainingJob, ledger: Ledger, digest: str) -> Run | None:
    """The run of the stage Evaluate, where the job has it."""
    if job.spec.evaluate is None:
        return None
    experiment = job.status.run.experiment_id if job.status.run else None
    found = await ledger.find_run(experiment or "", uid_of_stage(job.metadata.uid, told_to_launchers(Stage.EVALUATE)))
    if found is None and (told := run_under_way(job.status)) is not None and told.id:
        await ledger.check_run(told.id)
    return verify_evaluation(job, found, digest)


async def _point_alias(ledger: Ledger, model: str, alias: str | None, version: ModelVersion) -> AliasReserved | None:
    """Why the alias is not to be had, where it is not."""
    if alias is None:
        return None
    try:
        await ledger.point_alias(model, alias, version.version)
    except AliasReserved as error:
        return error
    return None


def is_run_open(status: TrainingJobStatus) -> bool:
    """Whether the job has failed for good and its run has not been told (pure)."""
    run = status.run
    if status.state is not State.FAILED or run is None or run.ended is not None:
        return False
    # With stages an earlier one has made it, whose launcher does not tell of it; and one that was cut off soon may have
    # made one that nobody has heard of.
    return bool(run.id) or status.stage is not None or status.attempt is not None


async def end_run(job: TrainingJob, ledger: Ledger) -> TrainingJobStatus:
    """End the run of a job that failed for good, with the cause as a tag, and that of its stage; the status that says
    so. Raises TrackingError.
    """
    status = job.status
    assert status.run is not None
    cause = f"{status.failure.class_.value}/{status.failure.reason}" if status.failure else status.reason or ""
    tags = {OUTCOME_TAG: f"failed: {cause}"}
    uid, experiment = job.metadata.uid, status.run.experiment_id or ""
    if status.run.id:
        await ledger.fail_run(status.run.id, status.completion_time, tags)
        of_stage = await ledger.find_run(experiment, own) if (own := uid_of_own_run(job)) else None
        if of_stage is not None and of_stage.status == RunStatus.RUNNING:
            await ledger.fail_run(of_stage.id, status.completion_time, tags)
        return status.evolve(run=status.run.evolve(ended=True))
    found = {of: run for of in run_uids(uid) if (run := await ledger.find_run(experiment, of)) is not None}
    for run in found.values():
        if run.status == RunStatus.RUNNING:
            await ledger.fail_run(run.id, status.completion_time, tags)
    return status.evolve(run=status.run.evolve(id=found[uid].id if uid in found else "", ended=True))
