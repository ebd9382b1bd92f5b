"""What a phase of a TrainingJob decides: a plan whose status is still typed, and when to look again."""

from __future__ import annotations

from dataclasses import dataclass

from headrace.api.trainingjob import TrainingJobStatus
from headrace.kube.plan import Plan

# Seconds until the next look.
POLL_RUNNING = 5.0
POLL_WAITING = 2.0
POLL_ENDING = 1.0


@dataclass(frozen=True)
class Step:
    """The acts of one pass. Its status is written with them; None leaves the status alone."""

    plan: Plan
    status: TrainingJobStatus | None = None
