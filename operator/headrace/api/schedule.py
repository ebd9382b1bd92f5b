"""spec.schedule: a TrainingJob that trains again and again; and what its status says of those trainings."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from headrace.api.base import Model, Rule, Schema, list_map, matching
from headrace.api.scalars import Cell, Message, Name, Reason, Time, Word

SUFFIX = 9
"""Of the Jobs of its CronJob, and with them of its trainings: a dash and eight digits behind the template's name."""
MAX_NAME = 40 - SUFFIX


def _field(value: str) -> str:
    """One field of a cron expression, whose values match `value`: a list of ranges, each with a step."""
    part = rf"([*?]|({value})(-({value}))?)(/[1-9][0-9]?)?"
    return f"{part}(,{part})*"


_MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_FIELDS = (
    "[0-5]?[0-9]",
    "[01]?[0-9]|2[0-3]",
    "0?[1-9]|[12][0-9]|3[01]",
    f"0?[1-9]|1[0-2]|{_MONTHS}",
    "[0-6]|sun|mon|tue|wed|thu|fri|sat",
)
CRON_PATTERN = (
    f"^(@(yearly|annually|monthly|weekly|daily|midnight|hourly)|(?i:{' +'.join(_field(value) for value in _FIELDS)}))$"
)
"""What Kubernetes' CronJobs take, without `@every`, which knows no time of day, and without a zone in it."""

TIME_ZONE_PATTERN = "^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$"


class ConcurrencyPolicy(StrEnum):
    ALLOW = "Allow"
    FORBID = "Forbid"
    REPLACE = "Replace"


class Schedule(Model):
    """When it is trained again. A Kubernetes CronJob of the same name keeps the time."""

    cron: Annotated[
        str,
        Schema(
            "When: minute, hour, day of the month, month, day of the week (0 to 6 or sun to sat), such as "
            '"0 3 * * 1-5"; or @hourly, @daily, @weekly, @monthly, @yearly. Can be changed.',
            minLength=1,
            maxLength=128,
            rules=(
                matching(
                    CRON_PATTERN,
                    "must be five fields, minute hour day-of-month month day-of-week, such as 0 3 * * 1-5, or @hourly, "
                    "@daily, @weekly, @monthly, @yearly",
                ),
            ),
        ),
    ]
    time_zone: Annotated[
        str,
        Schema(
            "The time zone of cron, by its name in the IANA database, such as Europe/Berlin. Can be changed.",
            minLength=1,
            maxLength=64,
            rules=(
                Rule(
                    f"self.matches('{TIME_ZONE_PATTERN}') && self.lowerAscii() != 'local'",
                    "must be the name of a time zone, such as Europe/Berlin or Etc/UTC",
                ),
                # The API server's own database of zones, which is the one that the CronJob is checked with, too.
                Rule(
                    f"!self.matches('{TIME_ZONE_PATTERN}') || timestamp('2000-01-01T00:00:00Z').getHours(self) >= 0",
                    "must be the name of a time zone, such as Europe/Berlin or Etc/UTC",
                ),
            ),
        ),
    ] = "Etc/UTC"
    concurrency_policy: Annotated[
        ConcurrencyPolicy,
        Schema(
            "What happens when it is time and an earlier training has not ended. Forbid: this time is left out. "
            "Replace: the earlier training is deleted, which ends its run as killed. Allow: both train. Can be changed."
        ),
    ] = ConcurrencyPolicy.FORBID
    starting_deadline_seconds: Annotated[
        int | None,
        Schema(
            "Seconds after its time in which a training may still begin, where the cluster or the operator was away "
            "then; after that it is left out. Absent: it may always. Can be changed.",
            minimum=10,
            maximum=31536000,
        ),
    ] = None
    successful_jobs_history_limit: Annotated[
        int,
        Schema(
            "How many trainings that succeeded are kept, with their status; the oldest are deleted. Their runs and "
            "models stay. Can be changed.",
            minimum=0,
            maximum=100,
        ),
    ] = 3
    failed_jobs_history_limit: Annotated[
        int,
        Schema(
            "How many trainings that failed are kept; the oldest are deleted. Can be changed.", minimum=0, maximum=100
        ),
    ] = 1
    suspend: Annotated[
        bool,
        Schema("Whether no further training is begun; those under way are not touched. Can be changed."),
    ] = False


class ScheduledTraining(Model):
    """One of the trainings: a TrainingJob of its own."""

    name: Annotated[Name, Schema("Name of the TrainingJob, and of the Job that stands for it.")]
    state: Annotated[Word | None, Schema("Its state; absent until it has one.")] = None
    reason: Annotated[Reason | None, Schema("Its reason, as one CamelCase word.")] = None
    message: Annotated[Message | None, Schema("What it says of its state.")] = None
    start_time: Annotated[Time | None, Schema("When it was begun.")] = None
    completion_time: Annotated[Time | None, Schema("When it ended.")] = None
    metric: Annotated[Cell, Schema("Its METRIC.")] = "-"
    model: Annotated[Cell, Schema("Its MODEL.")] = "-"


class ScheduleStatus(Model):
    """What came of spec.schedule."""

    last_schedule_time: Annotated[Time | None, Schema("When it was time last, by the CronJob.")] = None
    last_successful_time: Annotated[
        Time | None, Schema("When a training succeeded last, by the CronJob; its gates need not have passed.")
    ] = None
    active: Annotated[
        tuple[ScheduledTraining, ...],
        Schema("Trainings that have not ended, the oldest first.", maxItems=16, **list_map("name")),
    ] = ()
    last: Annotated[
        ScheduledTraining | None, Schema("The training that ended last; it may have been deleted since.")
    ] = None


RULES: tuple[Rule, ...] = (
    Rule(
        "!has(self.schedule) || !has(self.suspend) || !self.suspend",
        "suspend stops one training: to stop a schedule set schedule.suspend, and suspend in the TrainingJobs that it "
        "has made",
        field_path=".suspend",
    ),
    # A training that is gone before anybody has seen its end would count as deleted.
    Rule(
        "!has(self.schedule) || !has(self.ttlSecondsAfterFinished)",
        "with schedule the trainings are kept by their number: use schedule.successfulJobsHistoryLimit and "
        "schedule.failedJobsHistoryLimit",
        field_path=".ttlSecondsAfterFinished",
    ),
    Rule(
        "!has(self.schedule) || self.schedule.successfulJobsHistoryLimit > 0 || !has(self.output) || "
        "!has(self.output.approval) || !self.output.approval.required",
        "with output.approval.required keep at least one training that succeeded: what is deleted at its end nobody "
        "can approve",
        field_path=".schedule.successfulJobsHistoryLimit",
    ),
    Rule(
        "has(self.schedule) == has(oldSelf.schedule)",
        "schedule cannot be added to a TrainingJob or removed from it, only changed: create a new object under another "
        "name",
        field_path=".schedule",
    ),
)
"""What holds between `schedule` and the rest of a TrainingJob's spec, for the API server."""

NAME_RULE = Rule(
    f"!has(self.spec.schedule) || size(self.metadata.name) <= {MAX_NAME}",
    f"with spec.schedule metadata.name must be at most {MAX_NAME} characters: the names of the trainings are made of "
    "it, a dash and eight digits",
)
