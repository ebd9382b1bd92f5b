"""Which image all trials of a job run (pure): found out once, kept in status.

A name with a tag may be another image tomorrow. Which one it is only a pod can tell, so the first trial begins alone,
and the others run what it has run. The release's own image is the operator's that begins the first trial: an upgrade
meanwhile changes none of the others.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from headrace.api.trainingjob import TrainingJob, TrainingJobStatus
from headrace.settings import Settings
from headrace.training.gpus import image_of
from headrace.training.stages import training_of
from headrace.training.tuning.trial import Trial

_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}$")


def is_image_awaited(job: TrainingJob, trials: Sequence[Trial]) -> bool:
    """Whether the first trial has to say which image the name in the spec is, before others begin."""
    return not _is_known(job) and _told_by(trials) is None


def with_image(
    job: TrainingJob, status: TrainingJobStatus, trials: Sequence[Trial], settings: Settings
) -> TrainingJobStatus:
    """The status with the image that trials run, as soon as it is known."""
    tuning = status.tuning
    if tuning is None or tuning.image is not None:
        return status
    found = image_of(training_of(job), settings) if _is_known(job) else _told_by(trials)
    return status.evolve(tuning=tuning.model_copy(update={"image": found}))


def _is_known(job: TrainingJob) -> bool:
    """Kept already, named by its digest, or the release's own."""
    named = job.spec.source.image or job.spec.image
    is_kept = job.status.tuning is not None and job.status.tuning.image is not None
    return is_kept or not named or _DIGEST.search(named) is not None


def _told_by(trials: Sequence[Trial]) -> str | None:
    return next((trial.image for trial in trials if trial.image), None)
