"""What a person may do to a rollout, and what status keeps of it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from headrace.api.base import Model, Schema
from headrace.api.scalars import Line, Name, Time, Word


class Act(StrEnum):
    """The acts; each is also the RBAC verb that is needed for it, and the sub-command that asks for it."""

    PROMOTE = "promote"
    SKIP = "skip"
    ABORT = "abort"
    RETRY = "retry"
    PAUSE = "pause"
    RESUME = "resume"
    RESTART = "restart"


class ActOutcome(StrEnum):
    """Whether an act was done."""

    DONE = "Done"
    NOTHING_DONE = "NothingDone"


class StandingAct(Model):
    """What a person has said of a rollout last, as long as it holds."""

    act: Annotated[Act, Schema("What was asked for.")]
    by: Annotated[Name, Schema("Who did.")] = ""
    reason: Annotated[Line | None, Schema("Why; absent where nobody said.")] = None
    weight: Annotated[
        int | None, Schema("Of skip: the weight whose hold, checks and pause are skipped.", minimum=0, maximum=100)
    ] = None


class Restart(Model):
    """Fresh pods that a person has asked for; part of what a revision of this artifact is made of."""

    at: Annotated[Time, Schema("When the operator took it.")]
    artifact: Annotated[Line, Schema("Digest of the artifact that served, or where it lies.")]


class ActRecord(Model):
    """An act that the operator has taken; each is taken once."""

    act: Annotated[Word, Schema("What was asked for: promote, skip, abort, retry, pause, resume or restart.")]
    version: Annotated[Name, Schema("The version, digest or revision that it named.")] = ""
    by: Annotated[Name, Schema("Who asked for it.")] = ""
    at: Annotated[Word, Schema("When, as the annotation has it.")] = ""
    reason: Annotated[Line | None, Schema("Why; absent where nobody said.")] = None
    taken_at: Annotated[Time | None, Schema("When the operator took it.")] = None
    outcome: Annotated[ActOutcome, Schema("Done, or NothingDone.")]
    message: Annotated[Line, Schema("What was done, or why nothing was, and what to do then.")] = ""
    unverified: Annotated[
        bool, Schema("No admission policy has looked at who asked: admission.enabled is off in the chart's values.")
    ] = False
