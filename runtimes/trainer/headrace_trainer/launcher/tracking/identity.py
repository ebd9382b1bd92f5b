"""Which run an attempt writes: the job's, or a stage's below it.

The job's run is the training's, or that of the tuning, whose trials have runs of their own. A stage before it has one
of its own, a child of the job's: what it measures would otherwise lie beside what the model is judged by.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from headrace_common.protocol.config import Job, Stage
from headrace_common.tags import NAME_TAG, NAMESPACE_TAG, STAGE_TAG, UID_TAG, uid_of_stage


@dataclass(frozen=True)
class RunIdentity:
    """The run is found by its `uid`, a tag that no other run has. `parent` is the run above it, if there is one."""

    uid: str
    name: str
    tags: Mapping[str, str]
    parent: RunIdentity | None = None


def run_of(job: Job, stage: Stage) -> RunIdentity:
    """That of an attempt of this stage."""
    tags = {NAMESPACE_TAG: job.namespace, NAME_TAG: job.name}
    whole = RunIdentity(job.uid, job.name, {**tags, UID_TAG: job.uid})
    if stage in (Stage.TRAIN, Stage.TUNE):
        return whole
    uid = uid_of_stage(job.uid, stage)
    return RunIdentity(uid, f"{job.name}/{stage}", {**tags, UID_TAG: uid, STAGE_TAG: str(stage)}, whole)
