"""The only clock of the operator: reconcilers take it as an argument, planners get its time as a value."""

from __future__ import annotations

from datetime import UTC, datetime


def utc_now() -> datetime:
    """The time, in whole milliseconds: what status keeps."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def shown(moment: datetime) -> str:
    """A moment in a message, as Kubernetes writes its own: 2030-01-01T12:00:00Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
