"""How long an attempt waits for its pods, and how long it may take (pure).

A cluster or a quota that is full has room again without anybody's doing anything about the job, so the job waits for it
as long as it takes. What is wrong, such as an image's name, is mended in minutes or not at all.
"""

from __future__ import annotations

from headrace.api.common import FailureClass
from headrace.api.trainingjob import TrainingJob, TrainingJobSpec

# For what is wrong, where spec.startDeadlineSeconds says nothing.
REPAIR_SECONDS = 600
# How long a worker then waits for the names of peers for which there is no room yet.
ROOM_SECONDS = 86400
# A worker waits for its peers' names for longer than the operator waits for their pods: the operator can tell why.
_NAME_MARGIN_SECONDS = 60
_QUOTA_IS_FULL = "exceeded quota"  # the words of the API server


def start_deadline(spec: TrainingJobSpec, failure_class: FailureClass, message: str) -> int | None:
    """Seconds until what keeps the pods from starting ends the job; None: it waits as long as it takes."""
    if spec.start_deadline_seconds is not None:
        return spec.start_deadline_seconds
    waits_for_room = failure_class is FailureClass.SCHEDULING or _QUOTA_IS_FULL in message
    return None if waits_for_room else REPAIR_SECONDS


def name_deadline(spec: TrainingJobSpec) -> int:
    """Seconds that a worker waits for its peers' names."""
    return (spec.start_deadline_seconds or ROOM_SECONDS) + _NAME_MARGIN_SECONDS


def remaining_seconds(job: TrainingJob) -> int | None:
    """What the attempts that ended left of activeDeadlineSeconds, 0 or less where nothing; None without a deadline.

    Status keeps a sum, as history forgets old attempts and no two times can tell how long the job was suspended.
    """
    deadline = job.spec.active_deadline_seconds
    return None if deadline is None else deadline - (job.status.active_seconds or 0)
